"""From chapters and pages to a static site: execute, lay out, finish, render."""

from press.site.build import make, refresh

__all__ = ["make", "refresh"]

"""What the press raises, on the library's base class: one ``except`` tells them from bugs."""

from vae_helpers.errors import VaeError


class BookError(VaeError):
    """The book cannot be made; the message names the chapter or file, and the remedy."""


class ClusterError(VaeError, RuntimeError):
    """No cluster to work on, or one that was lost; the message says what to do."""


class FetchError(VaeError, OSError):
    """A file that git could not bring; the message names it and what to do."""


class RequirementError(VaeError, AssertionError):
    """A requirement of the brief whose check did not pass."""


class ResultError(VaeError, AssertionError):
    """A stored thing that is missing, stale or contradicted; the message says what to do."""


class RowError(VaeError, ValueError):
    """A table whose lines are no rows; the message names the file and the line."""

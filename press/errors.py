"""What the press raises, on the library's base class: one ``except`` tells them from bugs."""

from vae_helpers.errors import VaeError


class BookError(VaeError):
    """The book cannot be made; the message names the chapter, file or cluster, and the remedy."""


class RequirementError(VaeError, AssertionError):
    """A requirement of the brief whose check did not pass."""


class ResultError(VaeError, AssertionError):
    """A stored thing that is missing, stale or contradicted; the message says what to do."""

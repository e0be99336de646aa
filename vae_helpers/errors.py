"""What the library raises: each message names the thing that is wrong, and the remedy."""


class VaeError(Exception):
    """The base of all errors that this project defines."""


class DataError(VaeError, ValueError):
    """Data that cannot be used; the message names the file or value, and the remedy."""


class CheckpointError(VaeError, RuntimeError):
    """A checkpoint that cannot be used; the message names the file and what to do."""


class TrainingError(VaeError, RuntimeError):
    """Training that cannot go on; the message names epoch, step and term, and the remedy."""


class WriteError(VaeError, OSError):
    """A file that cannot be written; the message names it and what to do."""

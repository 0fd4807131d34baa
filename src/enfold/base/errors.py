"""Every error that enfold raises on purpose.

A message says what was given, what was expected, and what to do. Each class also derives from the built-in that a
user of the reference libraries would catch (`OSError` for files and repositories, `ValueError` for arguments), so
existing `except` clauses keep working.
"""


class EnfoldError(Exception):
    """Root of the tree: `except EnfoldError` catches whatever enfold refuses."""


class ArgumentError(EnfoldError, ValueError):
    """An argument, option or combination of them that can't be honoured."""


class NotBuiltError(EnfoldError, ImportError, NotImplementedError):
    """A name or option of the reference libraries that enfold knows and has not built yet."""


class MissingDependencyError(EnfoldError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class HubError(EnfoldError, OSError):
    """A repository or one of its files could not be had."""


class RepositoryIdError(HubError, ArgumentError):
    """Neither a folder that exists nor a well-formed repository id."""


class RepositoryNotFoundError(HubError):
    """No such repository (or a private one and no token)."""


class GatedRepositoryError(RepositoryNotFoundError):
    """The repository exists, but its owner must grant access."""


class RevisionNotFoundError(HubError):
    """The repository exists, the branch, tag or commit does not."""


class EntryNotFoundError(HubError):
    """The repository exists, the file in it does not."""


class OfflineError(HubError):
    """Not in the cache, and the network is unreachable or was forbidden."""


class UnsafePathError(HubError):
    """A name sent by a server or found in an archive would leave its folder."""


class ConfigError(EnfoldError, ValueError):
    """A configuration that can't describe a model: unknown `model_type`, contradictory sizes."""


class CheckpointError(EnfoldError, OSError):
    """A checkpoint can't be read: torn, hostile, of an unknown format, or without weights."""


class TornFileError(HubError, CheckpointError):
    """A file is not whole: cut short, altered, empty, or a git-lfs pointer in its place."""


class WeightsMismatchError(EnfoldError, RuntimeError):
    """The checkpoint's tensors don't fit the model: missing, unexpected or of another shape."""


class TokenizerError(EnfoldError, ValueError):
    """A tokenizer file is torn or contradictory, or text can't be encoded as asked."""


class LengthError(EnfoldError, ValueError):
    """An input is longer than the model's positions."""


class TemplateError(EnfoldError, ValueError):
    """A chat template is missing, unsafe or failed on these messages."""


class DatasetError(EnfoldError, ValueError):
    """Data that can't be read, converted or combined: torn files, unknown formats, columns that don't fit."""


class DataFilesNotFoundError(EntryNotFoundError, FileNotFoundError):
    """A data file, or every file that a pattern could mean, is not there."""


class BadRowError(DatasetError):
    """One row of a file can't be read; the message names the file and the row."""


class LabelError(DatasetError):
    """A name or number that is none of a column's class labels."""


class GatheringError(EnfoldError, ValueError):
    """Processes that were to put their rows together didn't meet."""


class ProcessFailedError(EnfoldError, RuntimeError):
    """A process of a job ended with an error; the message says which, and why."""

"""Every error that this project raises on purpose.

A message says what is wrong, what it got, what is allowed and what to do. The command line prints it as one line and
exits with code 2; the pages show it beside the input it belongs to.
"""

from __future__ import annotations


class MultirateError(Exception):
    """Base of all errors that a user can cause and mend."""


class ConfigError(MultirateError, ValueError):
    """A setting is unknown, out of range or contradicts another one."""


class PartitionError(ConfigError):
    """A partition is incomplete, overlapping, empty where it must not be, or made for another model."""


class ModelError(MultirateError):
    """A model is unknown or cannot be built."""


class WeightsError(ModelError):
    """A weights file cannot be read, is not a plain state dict, or does not fit the model."""


class DataError(MultirateError):
    """A data set is unknown, missing, unreadable or unfit for training."""


class DownloadError(MultirateError):
    """Something has to be downloaded and the network did not give it."""


class StoreError(MultirateError):
    """The store of races cannot be opened, read or written."""


class RaceNotFoundError(StoreError):
    """There is no race with this id in the store."""


class QueueFullError(StoreError):
    """The server's owner allows no more waiting races."""

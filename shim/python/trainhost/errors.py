"""
What a failing call raises: one class for each code of the C library.

The text says what was tried, with what, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

from _trainhost import ffi, lib


class TrainhostError(Exception):
    """Why a call failed."""

    code: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """The code's name in C, such as "TH_ERR_HOST_LOST"."""
        return str(ffi.string(lib.th_error_name(self.code)).decode())


class WaitTimeoutError(TrainhostError, TimeoutError):
    """The caller's own bound passed; the host is well."""

    code = lib.TH_ERR_TIMEOUT


class UsageError(TrainhostError, ValueError):
    """An argument, variable or field of the specification is wrong."""

    code = lib.TH_ERR_USAGE


class DataError(TrainhostError, ValueError):
    """The data are wrong: shape, type, label, NaN."""

    code = lib.TH_ERR_DATA


class LimitError(TrainhostError):
    """Larger than a limit allows; waiting does not help."""

    code = lib.TH_ERR_LIMIT


class BusyError(TrainhostError):
    """Refused for now; the text says what must end first."""

    code = lib.TH_ERR_BUSY


class DeniedError(TrainhostError, PermissionError):
    """What this program may not do."""

    code = lib.TH_ERR_DENIED


class NotFoundError(TrainhostError, LookupError):
    """No such job, or no more events of it."""

    code = lib.TH_ERR_NOT_FOUND


class HostError(TrainhostError, ConnectionError):
    """The daemon cannot be reached, or not any more."""


class HostAbsentError(HostError):
    """No daemon listens on the socket."""

    code = lib.TH_ERR_HOST_ABSENT


class HostLostError(HostError):
    """The daemon went away while it was needed."""

    code = lib.TH_ERR_HOST_LOST


class HostStalledError(HostError):
    """The daemon is there but has not answered in time."""

    code = lib.TH_ERR_HOST_STALLED


class VersionError(TrainhostError):
    """The two sides share no protocol version."""

    code = lib.TH_ERR_VERSION


class ProtocolError(TrainhostError):
    """The daemon broke the protocol."""

    code = lib.TH_ERR_PROTOCOL


class DeviceError(TrainhostError):
    """The device asked for cannot be used."""

    code = lib.TH_ERR_DEVICE


class DivergedError(TrainhostError, ArithmeticError):
    """The loss became NaN or infinite."""

    code = lib.TH_ERR_DIVERGED


class CanceledError(TrainhostError):
    """The job was canceled."""

    code = lib.TH_ERR_CANCELED


class FileError(TrainhostError, OSError):
    """A file could not be read or written."""

    code = lib.TH_ERR_IO


class ResourceError(TrainhostError, OSError):
    """The operating system refused memory or descriptors."""

    code = lib.TH_ERR_SYSTEM


def _concrete(base: type[TrainhostError]) -> list[type[TrainhostError]]:
    own = [base] if "code" in vars(base) else []
    return own + [found for child in base.__subclasses__() for found in _concrete(child)]


_CLASSES: dict[int, type[TrainhostError]] = {
    found.code: found for found in _concrete(TrainhostError)
}


def error_class(code: int) -> type[TrainhostError]:
    """The class that stands for a code of the C library."""
    return _CLASSES.get(code, ProtocolError)


def check(code: int) -> None:
    """Raise what a call of the C library on this thread has just failed with, if it has."""
    if code != lib.TH_OK:
        raise error_class(code)(ffi.string(lib.th_error_text()).decode("utf-8", "replace"))

"""Where training happens, decided once."""

from __future__ import annotations

from typing import Any

from _trainhost import ffi, lib
from trainhost.adapter import Adapter
from trainhost.errors import UsageError, check
from trainhost.values import Mode

# Of the C library, where 0 stands for it.
STALL_TIMEOUT_DEFAULT_S = 2.0

_SECONDS_MAX = 2**62 / 1e9


class Manager:
    """Opens adapters, all of which go one way. There is no fallback from one to the other."""

    def __init__(self, mode: Mode, url: str | None = None) -> None:
        """
        Decide from arguments.

        :param url: unix:///PATH of the daemon's socket; ignored in local mode.
        :raises UsageError: the URL is malformed.
        """
        manager = ffi.new("th_manager **")
        check(lib.th_manager_create(mode, _text(url), manager))
        self._own(manager[0])

    @classmethod
    def from_env(cls) -> Manager:
        """Decide from USE_TRAINING_HOST_SERVICE and TRAINING_HOST_SERVICE_URL, now and for ever."""
        manager = ffi.new("th_manager **")
        check(lib.th_manager_from_env(manager))
        self = cls.__new__(cls)
        self._own(manager[0])
        return self

    def _own(self, pointer: Any) -> None:
        self._handle = ffi.gc(pointer, lib.th_manager_close)

    @property
    def mode(self) -> Mode:
        """The way decided on."""
        return Mode(lib.th_manager_mode(self._handle))

    @property
    def url(self) -> str:
        """The socket's URL in host mode, "local" in local mode."""
        return str(ffi.string(lib.th_manager_url(self._handle)).decode())

    def open(
        self,
        *,
        connect_timeout: float | None = None,
        call_timeout: float | None = None,
        stall_timeout: float | None = None,
        client: str | None = None,
        io: str | None = None,
    ) -> Adapter:
        """
        Open the way decided on.

        :param connect_timeout: of connect and handshake, in seconds; None: 2.
        :param call_timeout: of the daemon's answer to one request; None: 2.
        :param stall_timeout: how long its heart may stand still during a wait; None: 2.
        :param client: this program's name in the daemon's lists.
        :param io: how to reach the kernel, "io_uring" or "syscall"; None: as TRAINING_HOST_IO says.
        :raises HostAbsentError: within a millisecond.
        :raises TrainhostError: as th_adapter_open.
        """
        options = ffi.new("th_adapter_options *")
        options.connect_timeout_ns = _nanoseconds("connect_timeout", connect_timeout)
        options.call_timeout_ns = _nanoseconds("call_timeout", call_timeout)
        options.stall_timeout_ns = _nanoseconds("stall_timeout", stall_timeout)
        name, way = _text(client), _text(io)
        options.client, options.io = name, way
        adapter = ffi.new("th_adapter **")
        check(lib.th_adapter_open(self._handle, options, adapter))
        return Adapter(adapter[0], stall_timeout or STALL_TIMEOUT_DEFAULT_S)


def _text(value: str | None) -> Any:
    return ffi.NULL if value is None else ffi.new("char[]", value.encode())


def _nanoseconds(name: str, seconds: float | None) -> int:
    """0, which is the default in C, for None."""
    if seconds is None:
        return 0
    if not seconds > 0:
        raise UsageError(f"{name} is {seconds} s: it must be above 0")
    return int(min(seconds, _SECONDS_MAX) * 1e9)

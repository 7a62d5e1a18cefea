"""Listening sockets that the launcher opened for us, passed as systemd passes them (sd_listen_fds(3)).

`LISTEN_PID` must be our pid, `LISTEN_FDS` counts descriptors from 3 on, `LISTEN_FDNAMES` names them.
"""

from __future__ import annotations

import os
import socket

FIRST_DESCRIPTOR = 3
NOTIFY_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Where the service manager says whom to tell, and how often (sd_notify(3), sd_watchdog_enabled(3))."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def _at_exec() -> dict[str, str]:
    """The hand-over as it stood at exec. proc(5): `environ` keeps what later calls removed.

    Read when this module is imported: importing `twisted.internet.endpoints` takes the variables out of
    `os.environ`, and a process that has forbidden dumps can no longer read the file.
    """
    with open("/proc/self/environ", "rb") as initial:  # noqa: PTH123 - procfs
        pairs = (entry.partition("=") for entry in os.fsdecode(initial.read()).split("\0"))
        return {name: value for name, _, value in pairs if name in _VARIABLES}


_handed_over = _at_exec()


class InheritanceError(RuntimeError):
    """The launcher and this process disagree on what was passed, or it was started by somebody else."""


def inherited_sockets(*needed: str) -> dict[str, socket.socket]:
    """Inherited sockets by name, among them those `needed`; nothing was passed when another pid is named.

    Each is non-blocking and close-on-exec afterwards, and the variables are gone from the environment, so
    that no child takes them for its own. Raises `InheritanceError` on a malformed or ambiguous hand-over, and
    when one that is needed is missing.
    """
    found = _passed()
    missing = [name for name in needed if name not in found]
    if missing:
        raise InheritanceError(
            f"no {' and no '.join(missing)} socket was passed; start it with the launcher (`egress up`)"
        )
    return found


def _passed() -> dict[str, socket.socket]:
    pid, count, names = (
        os.environ.pop(variable, "") or _handed_over.get(variable, "") for variable in _VARIABLES
    )
    _handed_over.clear()  # descriptors are handed over once
    if pid != str(os.getpid()):
        return {}
    listed = names.split(":") if names else []
    if not count.isdecimal() or int(count) != len(listed):
        raise InheritanceError(f"LISTEN_FDS={count!r} does not count LISTEN_FDNAMES={names!r}")
    if len(set(listed)) != len(listed) or "" in listed:
        raise InheritanceError(f"LISTEN_FDNAMES={names!r}: each listener needs a name of its own")
    return {name: _adopt(name, FIRST_DESCRIPTOR + index) for index, name in enumerate(listed)}


def _adopt(name: str, descriptor: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=descriptor)
    except OSError as error:
        raise InheritanceError(f"descriptor {descriptor} ({name}) is no socket: {error.strerror}") from error
    adopted.setblocking(False)
    adopted.set_inheritable(False)
    return adopted

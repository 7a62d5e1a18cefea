"""Squid as a child process: started, told of a new configuration, stopped; its access lines handed on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from squid.render import Place

if TYPE_CHECKING:
    from twisted.python.failure import Failure

PROGRAM = "/usr/sbin/squid"
WITH_US = ("/usr/bin/setpriv", "--pdeathsig", "KILL")
"""What makes the kernel end it with us, however we end: alone it would go on by rules that nobody keeps."""
LONGEST_LINE = 64 * 1024
MOST_SAID = 256 * 1024
"""Octets of one run's standard error that are logged."""
_STDERR = 2
_LISTENING = "0A"  # linux/tcp_states.h, TCP_LISTEN

_log = Logger()


class SquidChild(ProcessProtocol):
    """One run of Squid. `line` gets every access line, `ended` is called once when the process is gone."""

    def __init__(self, line: Callable[[str], None], ended: Callable[[], None]) -> None:
        self._line, self._ended = line, ended
        self._rest = b""
        self._cut = False
        self._unsaid = MOST_SAID
        self._gone: list[Deferred[None]] = []
        self._service = ""
        self.alive = False

    def start(self, reactor: Any, place: Place) -> None:
        """Start; Squid has what we have, which is no privilege."""
        # With our uid: what one user has left there, another cannot take over.
        self._service = f"{place.service}{os.getuid()}"
        command = (*WITH_US, PROGRAM, "-n", self._service, "-N", "-f", str(place.configuration))
        # It opens /dev/stderr by name, which takes a pipe of ours and not that of who started us.
        reactor.spawnProcess(self, command[0], command, env={}, childFDs={0: "w", 1: "r", 2: "r"})

    def connectionMade(self) -> None:
        """It runs."""
        self.alive = True

    def reconfigure(self) -> None:
        """SIGHUP: read the configuration again, keeping connections. Only once it listens."""
        self._signal("HUP")

    def stop(self) -> Deferred[None]:
        """End it at once; fires when it is gone."""
        gone: Deferred[None] = Deferred()
        if not self.alive:
            gone.callback(None)
            return gone
        self._gone.append(gone)
        self._signal("KILL")
        return gone

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Access lines; one that has no end in sight is none. On standard error, what it says of itself."""
        if childFD == _STDERR:
            self._says(data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            # The end of a line that was too long is none of its own: who can write it would write records.
            if self._cut:
                self._cut = False
            else:
                self._line(line.decode("ascii", "backslashreplace"))
        if len(self._rest) > LONGEST_LINE:
            if not self._cut:
                _log.error("an access line over {octets} octets has no record", octets=LONGEST_LINE)
            self._rest, self._cut = b"", True

    def _says(self, data: bytes) -> None:
        # What a tenant does can make it speak: the log's readers need its first words, not all.
        said, self._unsaid = data[: self._unsaid], max(0, self._unsaid - len(data))
        if said:
            _log.info("squid: {said}", said=said.decode("ascii", "backslashreplace").rstrip())

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self.alive = False
        _log.info("squid ended: {why}", why=reason.getErrorMessage())
        forget_memory(self._service)
        waiting, self._gone = self._gone, []
        for gone in waiting:
            gone.callback(None)
        self._ended()

    def _signal(self, name: str) -> None:
        if not self.alive or self.transport is None:
            return
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            _log.debug("signal {name}: squid is gone", name=name)


def forget_memory(service: str, directory: Path = Path("/dev/shm")) -> None:  # noqa: S108 - shm_overview(7)
    """Remove the shared memory of a Squid that ended by a signal, which leaves it behind."""
    for file in directory.glob(f"{service}-*.shm") if service else ():
        with suppress(OSError):
            file.unlink()


def listening_ports(table: str) -> frozenset[int]:
    """The TCP ports of /proc/net/tcp (proc(5)) on which somebody listens."""
    rows = (line.split() for line in table.splitlines()[1:])
    return frozenset(
        int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENING
    )


def is_listening(ports: Iterable[int], table: Path = Path("/proc/self/net/tcp")) -> bool:
    """Whether somebody in our network namespace listens on every one of `ports`."""
    return listening_ports(table.read_text(encoding="ascii")) >= set(ports)

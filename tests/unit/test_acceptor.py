"""appliance.acceptor: real Unix sockets, and what Twisted's own adoption would do to the socket file."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

from twisted.internet import reactor, threads
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from appliance import acceptor, ipc
from appliance.control import ControlFactory, Operation


def listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen()
    return listening


def factory() -> ControlFactory:
    return ControlFactory(
        {"status": Operation(lambda _message, peer: {"uid": peer.credentials.uid}, frozenset({os.getuid()}))}
    )


class RealSockets(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "x.sock"
        self.acceptor = acceptor.Acceptor(reactor, listen(self.path), factory())
        self.addCleanup(self.acceptor.close)

    async def test_peer_is_identified_by_the_kernel(self) -> None:
        answer = await threads.deferToThread(ipc.ask, str(self.path), {"op": "status"})
        assert answer == {"ok": True, "uid": os.getuid()}

    async def test_the_mode_of_the_socket_file_stays_as_the_launcher_set_it(self) -> None:
        await threads.deferToThread(ipc.ask, str(self.path), {"op": "status"})
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600

    def test_closing_leaves_the_socket_file_and_is_idempotent(self) -> None:
        self.acceptor.close()
        self.acceptor.close()
        assert self.path.exists()
        assert self.acceptor.fileno() == -1


class Exhausted(SynchronousTestCase):
    def test_out_of_descriptors_pauses_instead_of_spinning(self) -> None:
        class Starved:
            def setblocking(self, *_: object) -> None: ...
            def close(self) -> None: ...
            def fileno(self) -> int:
                return 9

            def accept(self) -> None:
                raise OSError(errno.EMFILE, "Too many open files")

        memory = MemoryReactorClock()
        assert isinstance(memory, Clock)
        it = acceptor.Acceptor(memory, Starved(), factory())  # type: ignore[arg-type]  # a socket that fails
        assert it in memory.getReaders()
        it.doRead()
        assert it not in memory.getReaders()
        memory.advance(acceptor.PAUSE)
        assert it in memory.getReaders()
        self.flushLoggedErrors()

    def test_the_last_descriptor_is_not_the_end_of_the_socket(self) -> None:
        """Accepting takes one, and the reactor's duplicate another: an error out of here would close it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)

        class One:
            def setblocking(self, *_: object) -> None: ...
            def fileno(self) -> int:
                return 9

            def accept(self) -> tuple[socket.socket, str]:
                return ours, ""

        def full(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        memory = MemoryReactorClock()
        memory.adoptStreamConnection = full
        it = acceptor.Acceptor(memory, One(), factory())  # type: ignore[arg-type]  # as above
        it.doRead()
        assert ours.fileno() == -1
        memory.advance(acceptor.PAUSE)
        assert it in memory.getReaders()
        self.flushLoggedErrors()

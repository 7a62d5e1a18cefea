"""Real sockets and splice(2), with a reactor of a few lines that this test turns by hand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
from pathlib import Path

import pytest

from appliance.gateway import tunnel
from appliance.gateway.tunnel import GROWTH, LARGE, Tunnel


class Turns:
    """IReactorFDSet over poll(2)."""

    def __init__(self) -> None:
        self.readers: dict[int, object] = {}
        self.writers: dict[int, object] = {}

    def addReader(self, end) -> None:
        self.readers[end.fileno()] = end

    def addWriter(self, end) -> None:
        self.writers[end.fileno()] = end

    def removeReader(self, end) -> None:
        self.readers.pop(end.fileno(), None)

    def removeWriter(self, end) -> None:
        self.writers.pop(end.fileno(), None)

    def turn(self) -> bool:
        """One round; False when nothing was ready."""
        readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for number in readable:
            if number in self.readers:
                self.readers[number].doRead()
        for number in writable:
            if number in self.writers:
                self.writers[number].doWrite()
        return bool(readable or writable)

    def settle(self) -> int:
        turns = 0
        while self.turn():
            turns += 1
            assert turns < 100_000
        return turns


class Ends:
    def __init__(self) -> None:
        self.turns = Turns()
        self.client, near = socket.socketpair()
        self.server, far = socket.socketpair()
        self.sockets = (self.client, near, self.server, far)
        for sock in self.sockets:
            sock.setblocking(False)
        self.finished: list[bool] = []
        self.touches = 0
        self.tunnel = Tunnel(self.turns, near, far, self.finished.append, self._touched)
        self.tunnel.start()

    def _touched(self) -> None:
        self.touches += 1

    def received(self, sock) -> bytes:
        data = b""
        while True:
            self.turns.settle()
            try:
                block = sock.recv(1 << 20)
            except BlockingIOError:
                return data
            if not block:
                return data
            data += block


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.tunnel.abort()
    for sock in ends.sockets:
        sock.close()


def test_bytes_are_equal_both_ways(ends) -> None:
    there, back = os.urandom(50_000), os.urandom(60_000)
    ends.client.send(there)
    ends.server.send(back)
    assert ends.received(ends.server) == there
    assert ends.received(ends.client) == back
    assert ends.tunnel.moved == (50_000, 60_000)
    assert ends.touches


def test_a_half_close_is_passed_on_and_the_other_way_goes_on(ends) -> None:
    ends.client.send(b"last words")
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.received(ends.server) == b"last words"
    assert ends.server.recv(1) == b""
    assert ends.finished == []
    ends.server.send(b"answer")
    assert ends.received(ends.client) == b"answer"
    ends.server.shutdown(socket.SHUT_WR)
    ends.turns.settle()
    assert ends.finished == [True]
    assert ends.turns.readers == ends.turns.writers == {}


def carry(ends, count: int) -> None:
    block = b"x" * 65536
    sent = got = 0
    while got < count:
        with contextlib.suppress(BlockingIOError):
            sent += ends.client.send(block)
        ends.turns.turn()
        with contextlib.suppress(BlockingIOError):
            got += len(ends.server.recv(1 << 20))
    assert sent >= got


def pipes() -> list[int]:
    """Sizes of all pipes of this process, by their writing ends."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("pipe:"):
                found.append(fcntl.fcntl(int(entry.name), fcntl.F_GETPIPE_SZ))
        except OSError:
            continue
    return found


def test_a_pipe_grows_with_what_it_has_carried_and_the_way_back_does_not(ends) -> None:
    before = len([size for size in pipes() if size == LARGE])
    assert ends.tunnel._rightward.size < GROWTH[0][1]
    carry(ends, GROWTH[0][0])
    assert ends.tunnel._rightward.size == GROWTH[0][1]
    carry(ends, GROWTH[1][0])
    assert ends.tunnel._rightward.size == LARGE
    assert len([size for size in pipes() if size == LARGE]) == before + 2  # both ends of one pipe
    assert ends.tunnel._leftward.size < GROWTH[0][1]


def test_only_so_many_are_large_at_a_time_and_they_are_given_back(ends, monkeypatch) -> None:
    monkeypatch.setattr(tunnel, "MOST_LARGE", 0)
    carry(ends, GROWTH[1][0])
    assert ends.tunnel._rightward.size == GROWTH[0][1]
    monkeypatch.undo()
    other = Ends()
    carry(other, GROWTH[1][0])
    assert other.tunnel._rightward in tunnel._Direction.large
    other.tunnel.abort()
    assert not tunnel._Direction.large
    for sock in other.sockets:
        sock.close()


def test_a_pipe_that_may_not_grow_serves_as_it_is(ends, monkeypatch) -> None:
    def refuse(_descriptor: int, _command: int, _size: int = 0) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(tunnel.fcntl, "fcntl", refuse)
    carry(ends, GROWTH[1][0])
    assert ends.tunnel.moved[0] >= GROWTH[1][0]


def test_a_side_that_does_not_read_stops_the_other(ends) -> None:
    sent = 0
    while True:
        try:
            sent += ends.client.send(b"x" * 65536)
        except BlockingIOError:
            if ends.turns.settle() == 0:
                break
    assert sent < 4_000_000
    assert ends.turns.turn() is False  # and the reactor does not spin
    got = ends.received(ends.server)
    assert got == b"x" * sent


def test_the_end_arrives_after_what_was_still_in_the_pipe(ends) -> None:
    sent = 0
    while True:
        try:
            sent += ends.client.send(b"y" * 65536)
        except BlockingIOError:
            if ends.turns.settle() == 0:
                break
    ends.client.shutdown(socket.SHUT_WR)
    ends.turns.settle()
    assert len(ends.received(ends.server)) == sent
    ends.turns.settle()
    assert ends.server.recv(1) == b""


def test_a_peer_that_is_gone_aborts(ends) -> None:
    ends.server.close()
    ends.client.send(b"x" * 1000)
    ends.turns.settle()
    ends.client.close()
    ends.turns.settle()
    assert len(ends.finished) == 1


def test_abort_lets_go_of_everything_once(ends) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    ends.tunnel.abort()
    ends.tunnel.abort()
    assert ends.finished == [False]
    assert ends.turns.readers == {}
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 4


def test_a_hang_up_with_nothing_left_counts_as_its_end(ends) -> None:
    left = ends.turns.readers[ends.sockets[1].fileno()]
    ends.server.send(b"unread")
    ends.turns.settle()
    ends.turns.removeReader(left)
    left.connectionLost(None)
    assert ends.finished == [False]


def test_a_tunnel_for_which_there_are_not_enough_descriptors_keeps_none(monkeypatch) -> None:
    made: list[tuple[int, int]] = []

    def once(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.append(opened(flags))
        return made[0]

    opened = os.pipe2
    monkeypatch.setattr(os, "pipe2", once)
    left, right = socket.socketpair()
    with left, right, pytest.raises(OSError, match="Too many"):
        Tunnel(Turns(), left, right, lambda _: None, lambda: None)
    for number in made[0]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

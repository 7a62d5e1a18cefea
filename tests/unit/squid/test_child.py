"""Access lines put together again, and listening ports read from the kernel's table."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from squid.child import LONGEST_LINE, MOST_SAID, SquidChild, forget_memory, is_listening, listening_ports
from squid.render import Place

FOLDER = PurePosixPath("/run/egress/squid")

TABLE = """  sl  local_address rem_address   st tx_queue
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000
   1: 00000000:3AFF 00000000:0000 0A 00000000:00000000
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000
"""


class Process:
    """Records signals; gone when told so."""

    def __init__(self) -> None:
        self.signals: list[str] = []
        self.gone = False

    def signalProcess(self, name: str) -> None:
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)


def child() -> tuple[SquidChild, Process, list[str], list[str]]:
    lines: list[str] = []
    ends: list[str] = []
    made = SquidChild(lines.append, lambda: ends.append("ended"))
    process: Any = Process()
    made.makeConnection(process)
    return made, process, lines, ends


def test_lines_come_whole_however_they_arrive() -> None:
    made, _, lines, _ = child()
    for part in (b"one\ntw", b"o\n", b"thr\xffee", b"\n\n"):
        made.childDataReceived(1, part)
    assert lines == ["one", "two", "thr\\xffee", ""]


def test_a_line_without_an_end_is_not_kept_and_its_end_is_no_line() -> None:
    made, _, lines, _ = child()
    made.childDataReceived(1, b"x" * (LONGEST_LINE + 1))
    made.childDataReceived(1, b"x" * (LONGEST_LINE + 1))
    made.childDataReceived(1, b"forged")
    assert made._rest == b"forged"
    made.childDataReceived(1, b" record\nnext\n")
    assert lines == ["next"]


def test_signals_and_the_end() -> None:
    made, process, _, ends = child()
    made.reconfigure()
    gone: list[None] = []
    made.stop().addCallback(gone.append)
    assert (process.signals, gone) == (["HUP", "KILL"], [])
    made.processEnded(Failure(ProcessDone(0)))
    assert (gone, ends, made.alive) == ([None], ["ended"], False)
    made.reconfigure()
    made.stop().addCallback(gone.append)
    assert (process.signals, gone) == (["HUP", "KILL"], [None, None])


def test_a_signal_to_one_that_just_ended() -> None:
    made, process, _, _ = child()
    process.gone = True
    made.reconfigure()


def test_listening_ports() -> None:
    assert listening_ports(TABLE) == {53, 15103}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert not is_listening((port,))
        listening.listen()
        assert is_listening((port,))
        assert not is_listening((port, 1))


def test_it_starts_under_its_instances_own_name() -> None:
    started: list[tuple[str, ...]] = []

    class Reactor:
        def spawnProcess(self, protocol: object, program: str, command: tuple[str, ...], **_: object) -> None:
            started.append(command)

    place = Place(IPv4Address("198.18.83.2"), 1, FOLDER, FOLDER / "ca.pem", ())
    SquidChild(lambda _: None, lambda: None).start(Reactor(), place)
    ((*_, option, name, foreground, file, path),) = started
    assert (option, name) == ("-n", f"{place.service}{os.getuid()}")
    assert (foreground, file, path) == ("-N", "-f", f"{FOLDER}/squid.conf")


def test_its_shared_memory_goes_with_it_and_nobody_elses(tmp_path: Path) -> None:
    for name in (
        "egress1-cf__queues.shm",
        "egress1-tls.shm",
        "egress12-cf__queues.shm",
        "squid-cf__queues.shm",
    ):
        (tmp_path / name).touch()
    forget_memory("egress1", tmp_path)
    forget_memory("", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"egress12-cf__queues.shm", "squid-cf__queues.shm"}


def test_what_it_says_of_itself_is_no_access_line_and_has_a_bound() -> None:
    made, _, lines, _ = child()
    with capturedLogs() as events:
        made.childDataReceived(2, b"FATAL: no\n")
        made.childDataReceived(2, b"x" * MOST_SAID)
        made.childDataReceived(2, b"more")
    said = [event["said"] for event in events]
    assert said[0] == "FATAL: no"
    assert sum(map(len, said)) < MOST_SAID
    assert lines == []

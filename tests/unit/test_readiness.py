"""appliance.readiness: said once when it is true, to a real datagram socket, and alive as long as the reactor turns."""

from __future__ import annotations

import ast
import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from appliance.processes import Process, processes
from appliance.readiness import LOOK_EVERY, OF_WATCHDOG, report_readiness
from appliance.settings import Settings
from netns.launch import prepare

ABSTRACT = f"@egress-readiness-{os.getpid()}"


class Manager:
    """Whoever $NOTIFY_SOCKET names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind("\0" + path[1:] if path.startswith("@") else path)

    def heard(self) -> list[bytes]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(1024))
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else ABSTRACT)
    yield manager
    manager.socket.close()


def test_ready_is_said_once_and_not_before_it_is_true(manager: Manager) -> None:
    clock, ready = Clock(), False
    report_readiness(clock, lambda: ready, {"NOTIFY_SOCKET": manager.path})
    clock.pump([LOOK_EVERY] * 5)
    assert manager.heard() == []
    ready = True
    clock.pump([LOOK_EVERY] * 5)
    assert manager.heard() == [b"READY=1"]
    assert clock.getDelayedCalls() == [], "without a watchdog there is nothing more to say"


def test_signs_of_life_come_more_often_than_they_are_asked_for(manager: Manager) -> None:
    clock = Clock()
    environment = {
        "NOTIFY_SOCKET": manager.path,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    report_readiness(clock, lambda: True, environment)
    assert manager.heard() == [b"READY=1", b"WATCHDOG=1"]
    for _ in range(4):
        clock.advance(30 / OF_WATCHDOG)
        assert manager.heard() == [b"WATCHDOG=1"]
    assert OF_WATCHDOG >= 2


def test_nobody_is_told_that_a_process_lives_before_it_is_ready(manager: Manager) -> None:
    """The service manager's deadline for the start goes on holding."""
    clock = Clock()
    report_readiness(clock, lambda: False, {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"})
    clock.pump([LOOK_EVERY] * 50)
    assert manager.heard() == []


@pytest.mark.parametrize(
    ("microseconds", "pid"),
    [("30000000", "1"), ("", ""), ("0", ""), ("-5", ""), ("soon", ""), ("30000000", "x")],
)
def test_a_watchdog_of_another_process_or_none(manager: Manager, microseconds: str, pid: str) -> None:
    clock = Clock()
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}
    report_readiness(clock, lambda: True, environment)
    assert manager.heard() == [b"READY=1"]
    assert clock.getDelayedCalls() == []


def test_without_a_service_manager_nothing_is_looked_at() -> None:
    clock = Clock()
    report_readiness(clock, lambda: pytest.fail("asked"), {"WATCHDOG_USEC": "1000000"})
    assert clock.getDelayedCalls() == []


def test_no_child_takes_the_variables_for_its_own(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    report_readiness(Clock(), lambda: True, environment)
    assert environment == {"PATH": "/bin"}


def test_a_message_that_was_not_taken_is_said_again(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "notify"
    report_readiness(clock, lambda: True, {"NOTIFY_SOCKET": str(path)})
    clock.advance(LOOK_EVERY)
    late = Manager(str(path))
    clock.advance(LOOK_EVERY)
    assert late.heard() == [b"READY=1"]
    late.socket.close()


def test_a_lost_sign_of_life_is_not_the_last(manager: Manager) -> None:
    clock = Clock()
    report_readiness(clock, lambda: True, {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "3000000"})
    while True:  # a full queue, as of a manager that is busy
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
                other.sendto(b"x", manager.socket.getsockname())
        except BlockingIOError:
            break
    clock.advance(1)
    assert b"WATCHDOG=1" not in manager.heard()[2:]
    clock.advance(1)
    assert manager.heard() == [b"WATCHDOG=1"]


@pytest.mark.parametrize("process", processes(Settings()), ids=lambda process: process.name)
def test_every_process_reports(process: Process) -> None:
    """And its launcher, which clears the environment, hands on to whom."""
    main = importlib.util.find_spec(process.module)
    assert main is not None
    assert main.origin is not None
    calls = [
        node
        for node in ast.walk(ast.parse(Path(main.origin).read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert [call for call in calls if ast.unparse(call.func) == "report_readiness"]
    variables = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    assert (
        prepare(Settings(), process.name, variables | {"OTHER": "x"}).environment.items() >= variables.items()
    )

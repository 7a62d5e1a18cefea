"""The engine's command replaced by a program of the test's: what is asked of it, what becomes of its answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.verify.live import containers
from appliance.verify.live.containers import TEXT, Engine, Resident
from appliance.verify.live.ground import GroundError

WORDS = (sys.executable, "-u", "-c", TEXT)


@pytest.fixture
def resident() -> Iterator[Resident]:
    found = Resident(WORDS)
    yield found
    found.close()


def test_a_resident_runs_one_command_after_the_other(resident: Resident) -> None:
    for word in ("one", "two"):
        done = resident.run(("echo", word))
        assert (done.status, done.text) == (0, f"{word}\n")
    assert resident.alive


def test_one_that_ended_says_what_it_said_last() -> None:
    with pytest.raises(GroundError, match="no such image"):
        Resident(("sh", "-c", "echo no such image >&2; exit 125"))


def test_one_that_ends_later_is_no_answer(resident: Resident) -> None:
    resident.close()
    assert not resident.alive
    with pytest.raises((GroundError, ValueError)):
        resident.run(("true",))


def test_the_engine_is_asked_for_containers_of_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], _seconds: float = 0) -> containers.Output:
        asked.append(list(words))
        return containers.Output(0, "abc\n" if "ps" in words else "")

    monkeypatch.setattr(containers, "run", run)
    engine = Engine(
        Path("/run/d.sock"), "egress", "image", lambda network: ["--network", network, "--user", "1000:1000"]
    )
    engine.remove_all()
    engine("network", "connect", "a", "b")
    engine.once("acme", ("true",), ("--privileged",))
    listed, removed, connected, once = asked
    assert listed[:3] == ["docker", "-H", "unix:///run/d.sock"]
    assert listed[-2:] == ["--filter", "label=egress.verify=egress"]
    assert removed[-3:] == ["rm", "-f", "abc"]
    assert "--filter" not in connected
    assert " ".join(once[-7:]) == "--network acme --user 1000:1000 --privileged image true"
    assert {"--rm", "--pull", "never", "egress.verify=egress"} <= set(once)


def test_a_command_that_is_not_there_or_takes_too_long_is_told() -> None:
    assert containers.run(("no-such-program",)).status == 127
    assert containers.run(("sleep", "5"), 0.1).status is None

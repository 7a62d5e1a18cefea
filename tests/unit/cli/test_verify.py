from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import verify
from appliance.cli.failures import Failure
from appliance.cli.main import cli
from appliance.verify import battery
from appliance.verify.case import Case, Layer, Output
from appliance.verify.case import Result as CaseResult
from tests.unit.verify.fake_world import FakeWorld, case


class FakePlace:
    def __init__(self, said: Output) -> None:
        self.world = FakeWorld(lambda: said)
        self.stood = 0
        self.hidden: set[str] = set()

    def plan(self) -> FakeWorld:
        return self.world

    @contextmanager
    def stand(self) -> Iterator[FakeWorld]:
        self.stood += 1
        yield self.world

    def choose(self, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if case.id not in self.hidden]

    def logs(self) -> str:
        return "the last words of gateway-0"


CASES = [
    case(id="A1-literal", expect=("403",), layers=frozenset({Layer.GATEWAY, Layer.SQUID})),
    case(id="A16-ports", expect=("403",)),
    case(id="B3-label", expect=("403",)),
]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> FakePlace:
    found = FakePlace(Output(1, "status 403"))
    monkeypatch.setattr(verify, "_place", lambda: found)
    monkeypatch.setattr(verify, "require_root", lambda _command: None)
    monkeypatch.setattr(verify.signal, "signal", lambda *_words: None)
    monkeypatch.setattr(battery, "gather", lambda _world: CASES)
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words[: words.index("verify")], *words[words.index("verify") :]])


def test_all_held(place: FakePlace) -> None:
    done = run("verify")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-2:] == ["gateway 3/3, squid 1/1", "verify: 4 of 4 cases hold, 0 skipped"]
    assert place.stood == 1


def test_a_failure_is_shown_with_what_the_stimulus_wrote(place: FakePlace) -> None:
    place.world.workload = lambda: Output(0, "status 200\x1b[2J")
    done = run("verify", "--case", "B3")
    assert done.exit_code == 1
    assert "FAILED  B3-label" in done.stdout
    assert "output lacks '403'" in done.stdout
    assert "| status 200\\x1b[2J" in done.stdout
    assert done.stdout.splitlines()[-1] == "verify: 0 of 1 cases hold, 0 skipped"
    assert "last words" in done.stderr


def test_what_could_not_run_is_no_pass(place: FakePlace) -> None:
    place.world.workload = lambda: Output(125, "no such image")
    done = run("verify", "--case", "B3")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "verify: 0 of 1 cases hold, 1 skipped"


def test_for_machines(place: FakePlace) -> None:
    done = run("--json", "verify", "--layer", "gateway", "--case", "A")
    document = json.loads(done.stdout)
    assert (document["held"], document["cases"]) == (2, 2)
    assert [r["id"] for r in document["results"]] == ["A1-literal", "A16-ports"]


def test_the_list_tries_nothing(place: FakePlace) -> None:
    done = run("verify", "--list", "--case", "A1")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["CASE", "A1-literal"]
    assert json.loads(run("--json", "verify", "--list").stdout)[0]["layers"] == ["gateway", "squid"]
    assert place.stood == 0


def test_a_word_that_means_no_case_is_refused(place: FakePlace) -> None:
    assert run("verify", "--case", "Z9").exit_code == 2
    assert place.stood == 0
    with pytest.raises(Failure, match="Z9"):
        verify.select(CASES, ("A1", "Z9"))


def test_an_instance_that_does_not_come_up_is_said(place: FakePlace) -> None:
    @contextmanager
    def stand() -> Iterator[Any]:
        raise RuntimeError("no bridge")
        yield

    place.stand = stand  # type: ignore[method-assign]
    done = run("verify")
    assert done.exit_code == 1
    assert "no bridge" in done.stderr


def live(place: FakePlace, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """`--tenant` leads to the same place, which has only two of the three cases."""
    asked: list[tuple[Any, ...]] = []
    place.hidden = {"B3-label"}
    monkeypatch.setattr(verify, "LivePlace", lambda *words: asked.append(words) or place)
    return asked


def test_the_instance_that_serves_is_tried_by_what_it_takes(
    place: FakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = live(place, monkeypatch)
    done = run(
        "verify", "--tenant", "acme", "--canary", "10.9.9.9", "--canary", "198.18.9.9", "--layer", "gateway"
    )
    assert done.exit_code == 0
    assert asked[0][1:3] == ("acme", ("10.9.9.9", "198.18.9.9"))
    *_, share, closing = done.stdout.splitlines()
    assert share.startswith("tried on the instance that serves: 2 of the table's 4; the other 2 ")
    assert closing == "verify: 2 of 2 cases hold, 0 skipped"


def test_for_machines_it_says_whose_and_how_much(place: FakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    live(place, monkeypatch)
    document = json.loads(run("--json", "verify", "--tenant", "acme").stdout)
    assert (document["tenant"], document["cases"], document["table"]) == ("acme", 3, 4)


def test_what_only_a_trial_can_try_is_refused(place: FakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    live(place, monkeypatch)
    for words in (("--case", "B3"), ("--layer", "kernel")):
        done = run("verify", "--tenant", "acme", *words)
        assert done.exit_code == 2
        assert "from a checkout: egress verify" in done.stderr
    assert place.stood == 0


def test_canaries_are_for_the_instance_that_serves(place: FakePlace) -> None:
    assert run("verify", "--canary", "10.9.9.9").exit_code == 2


def test_a_line_has_all_of_the_matrix() -> None:
    held = verify.line(CaseResult(CASES[0], Layer.SQUID, 1.25))
    assert held.split() == ["ok", "A1-literal", "squid", "a", "title", "refused", "1.2", "s"]
    failed = verify.line(CaseResult(CASES[0], Layer.SQUID, 1.25, ("REACHED: it",)))
    assert failed.splitlines()[1].strip() == "FAILED: REACHED: it"

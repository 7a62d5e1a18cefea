from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.verify import battery
from appliance.verify.case import Case, Layer, Origin, Outcome, Output, Seat
from tests.unit.verify.fake_world import Counts, FakeWorld, canary, case


def tried(wanted: Case, world: FakeWorld, layer: Layer = Layer.GATEWAY) -> Any:
    return battery.run_case(wanted, layer, world)  # type: ignore[arg-type]


def reaching(counts: Counts, status: int | None = 0, text: str = "") -> Callable[[], Output]:
    def workload() -> Output:
        counts.of[Origin.WORKLOAD] += 1
        return Output(status, text)

    return workload


def test_a_refusal_with_a_living_canary_that_stayed_silent_holds() -> None:
    world = FakeWorld(lambda: Output(1, "REFUSED TimeoutError"))
    result = tried(case(canary(Counts()), expect=("REFUSED",)), world)
    assert result.held
    assert world.ran[0][:2] == ("reader", ("true",))


def test_a_canary_that_was_reached_is_a_problem() -> None:
    counts = Counts()
    result = tried(case(canary(counts)), FakeWorld(reaching(counts)))
    assert not result.held
    assert result.problems == ("REACHED: it has 1 more on record",)


@pytest.mark.parametrize(
    ("answers", "records", "said"),
    [(False, True, "did not answer"), (True, False, "recorded nothing"), (False, False, "did not answer")],
)
def test_a_dead_canary_proves_nothing(*, answers: bool, records: bool, said: str) -> None:
    result = tried(case(canary(Counts(), answers=answers, records=records)), FakeWorld())
    assert not result.held
    assert result.problems == (f"control: it {said}",)


def test_what_reaches_must_be_on_record_and_end_well() -> None:
    counts = Counts()
    wanted = case(canary(counts), outcome=Outcome.REACHES)
    assert tried(wanted, FakeWorld(reaching(counts))).held
    assert not tried(wanted, FakeWorld()).held
    assert tried(wanted, FakeWorld(reaching(counts, status=7))).problems == ("exit status 7",)


def test_texts_of_the_output() -> None:
    world = FakeWorld(lambda: Output(0, "status 403"))
    assert tried(case(expect=("403",), forbid=("200",)), world).held
    assert tried(case(expect=("429",)), world).problems == ("output lacks '429'",)
    assert tried(case(forbid=("403",)), world).problems == ("output has '403'",)
    assert tried(case(expect=("429",)), world, Layer.SQUID).held, "expect counts for the gateway alone"
    assert not tried(case(forbid=("403",)), world, Layer.SQUID).held


@pytest.mark.parametrize("status", [125, 126, 127])
def test_a_stimulus_that_could_not_be_started_is_not_run(status: int) -> None:
    result = tried(case(), FakeWorld(lambda: Output(status, "no such image")))
    assert not result.held
    assert "no such image" in result.not_run


def test_a_stimulus_that_broke_off_or_never_ended_did_not_hold() -> None:
    broke = Output(1, "Traceback (most recent call last):\n")
    assert not tried(case(), FakeWorld(lambda: broke)).held
    assert not tried(case(), FakeWorld(lambda: Output(None, ""))).held


def test_whatever_breaks_is_not_run() -> None:
    def stimulus(_world: object) -> Output:
        raise KeyError("a bug")

    result = tried(case(stimulus=stimulus), FakeWorld())
    assert result.not_run == "KeyError: 'a bug'"
    world = FakeWorld()
    world.broken = True
    assert "the record has stopped" in tried(case(), world).not_run


def test_seats() -> None:
    world = FakeWorld()
    tried(case(seat=Seat.GATEWAY, tenant="lister"), world)
    assert world.ran == [(Seat.GATEWAY, ("true",), "lister")]


def test_layers_one_after_the_other_and_service_is_taken_away_once_for_each() -> None:
    every = frozenset(Layer)
    cases = [case(id="A1-a", layers=every), case(id="A1-b", layers=every), case(id="A1-c", seat=Seat.GATEWAY,
             layers=frozenset({Layer.KERNEL}))]  # fmt: skip
    world = FakeWorld()
    results = list(battery.run(cases, list(Layer), world))  # type: ignore[arg-type]
    assert [(r.case.id, r.layer) for r in results] == [
        ("A1-a", Layer.GATEWAY), ("A1-b", Layer.GATEWAY), ("A1-a", Layer.SQUID), ("A1-b", Layer.SQUID),
        ("A1-c", Layer.KERNEL), ("A1-a", Layer.KERNEL), ("A1-b", Layer.KERNEL),
    ]  # fmt: skip
    assert world.at_layer == [Layer.SQUID, Layer.KERNEL]
    assert all(r.held for r in results)


def test_a_layer_that_cannot_be_had_is_no_pass_for_any_of_its_cases() -> None:
    world = FakeWorld()
    world.broken = True
    cases = [case(id=f"A1-{n}", layers=frozenset({Layer.SQUID})) for n in range(3)]
    results = list(battery.run(cases, [Layer.SQUID], world))  # type: ignore[arg-type]
    assert [r.not_run for r in results] == ["layer squid: no such layer"] * 3


@pytest.mark.parametrize(
    ("wanted", "means"),
    [("A", True), ("A1", True), ("A1-ssh", True), ("A1-s", True), ("B", False), ("A16", False),
     ("A1-t", False)],
)  # fmt: skip
def test_what_a_word_means(wanted: str, *, means: bool) -> None:
    assert battery.matches(case(id="A1-ssh"), wanted) is means
    assert not battery.matches(case(id="A16-x"), "A1")


def test_every_module_of_rows_is_found_and_no_two_cases_have_one_id() -> None:
    assert "cases_routes" in battery.modules()
    cases = battery.gather(FakeWorld())  # type: ignore[arg-type]
    assert len({c.id for c in cases}) == len(cases)
    with pytest.raises(ValueError, match="more than one"):
        battery.gather(FakeWorld(), ["cases_routes", "cases_routes"])  # type: ignore[arg-type]

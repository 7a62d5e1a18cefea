from __future__ import annotations

from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.verify import battery
from appliance.verify.case import Case, Layer, Outcome, Seat
from appliance.verify.live import selection
from appliance.verify.live.containers import Engine
from appliance.verify.live.world import CANARIES, LiveWorld
from tests.unit.verify.fake_world import case


@pytest.fixture(scope="module")
def table() -> list[Case]:
    engine = Engine(Path("/nowhere"), "egress", "image", lambda _network: [])
    return battery.gather(LiveWorld(Settings(), engine, "acme", "globex", CANARIES))


def test_every_word_means_a_row(table: list[Case]) -> None:
    chosen = selection.live(table, another=True)
    for word in (*selection.ALONE, *selection.WITH_ANOTHER):
        assert any(word in {case.id, case.attack} for case in chosen), word


def test_no_row_takes_service_away_or_wants_to_reach_anybody(table: list[Case]) -> None:
    for each in selection.live(table, another=True):
        assert each.layers
        assert not any(each.takes_away(layer) for layer in each.layers), each.id
        assert not each.disruptive
        assert each.outcome is Outcome.REFUSED, each.id
        assert not each.id.endswith("-fallback")


def test_without_a_second_tenant_no_row_asks_for_one(table: list[Case]) -> None:
    alone = {each.id for each in selection.live(table, another=False)}
    both = {each.id for each in selection.live(table, another=True)}
    assert alone < both
    assert {"A11-bound", "A19-lister", "A24-dual-homed", "A19-taken-gateway"} <= both - alone


def test_a_process_that_was_taken_over_is_named_and_not_meant_by_an_attack(table: list[Case]) -> None:
    chosen = {each.id for each in selection.live(table, another=True)}
    assert "C12-taken-gateway" in chosen
    # What it would reach without protection is not ours, or the host's own tables.
    assert chosen.isdisjoint(
        {"A6-taken-gateway", "A4-taken-resolver", "A12-taken-gateway", "A4-gateway-works"}
    )


def test_what_is_disruptive_or_needs_a_layer_away_has_no_layer_here() -> None:
    every = frozenset(Layer)
    assert selection.layers(case(layers=every, disruptive=True)) == frozenset()
    assert selection.layers(case(layers=every)) == {Layer.GATEWAY}
    assert selection.layers(case(layers=frozenset({Layer.KERNEL}), seat=Seat.SANDBOX)) == {Layer.KERNEL}


def test_names_are_nobodys_before_they_are_unlisted() -> None:
    (here,) = selection.live([case(id="A1-literal", expect=("403 host-not-listed keep",))], another=False)
    assert here.expect == ("403 name-not-public keep",)


def test_a_result_is_a_case_at_a_layer() -> None:
    assert selection.tried([case(layers=frozenset(Layer)), case()]) == 4

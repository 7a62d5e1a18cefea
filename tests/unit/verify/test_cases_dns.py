"""appliance.verify.cases_dns: every attack that it names has a row, and every row can be told from any other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.verify import cases_dns, client
from appliance.verify.case import Case, Layer, Outcome
from tests.unit.verify.recording import Recording

ATTACKS = {"B1", "B2", "B3", "B4", "B8", "B9"}
WORLD: Any = Recording()
ROWS = cases_dns.rows(WORLD)


def test_every_attack_has_a_row() -> None:
    assert {case.attack for case in ROWS} == ATTACKS


def test_making_rows_does_nothing() -> None:
    world: Any = Recording()
    cases_dns.rows(world)
    assert {words[0] for words in world.did} <= {"packets", "requests", "queries"}


def test_ids_are_unique() -> None:
    assert len({case.id for case in ROWS}) == len(ROWS)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_a_row_says_what_must_come_of_it(case: Case) -> None:
    assert case.canaries or case.expect or case.forbid
    assert case.layers
    if case.outcome is Outcome.REFUSED and Layer.SQUID in case.layers:
        assert case.canaries, "at another layer than the gateway only canaries and forbidden texts count"


@pytest.mark.parametrize("case", [c for c in ROWS if not callable(c.stimulus)], ids=lambda case: case.id)
def test_a_command_is_an_errand_that_the_client_knows(case: Case) -> None:
    assert not callable(case.stimulus)
    if case.stimulus[0] == "python3":
        way, what = case.stimulus[3:]
        assert way in client.WAYS
        labels = json.loads(what)
        expected = [text.partition(" ")[0] for text in case.expect if ": " in text]
        if way in ("fetch", "speak", "datagrams"):
            assert set(expected) <= set(labels), "what is expected of an attempt names one that is made"

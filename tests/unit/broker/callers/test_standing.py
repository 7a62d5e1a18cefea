"""Who was ended may not call any more; who has a new key may."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.broker.callers import standing
from appliance.broker.callers.standing import ENDED, PROOF_EXPIRED, Standing
from appliance.broker.identity.actors import Caller, CallerMode

NOW = datetime(2027, 1, 15, tzinfo=UTC)
KEYED = Caller(CallerMode.API_KEY, "ci", "acme", frozenset(), key="a" * 16)
ALICE = Caller(CallerMode.JWT, "alice", "acme", frozenset())


def test_002_22_a_key_ends_and_the_actors_other_key_does_not() -> None:
    found = Standing(lambda: NOW)
    assert found.refusal(KEYED) is None
    found.end(KEYED)
    assert found.refusal(KEYED) is ENDED
    assert found.refusal(replace(KEYED, key="b" * 16)) is None
    assert found.ended() == ()
    assert not found.readmit("acme", KEYED.principal)


def test_002_07_who_has_no_key_ends_by_name_tenant_and_mode_until_taken_back() -> None:
    found = Standing(lambda: NOW)
    found.end(ALICE)
    assert found.refusal(ALICE) is ENDED
    for other in (
        replace(ALICE, tenant="beta"), replace(ALICE, actor="bob"), replace(ALICE, mode=CallerMode.TRUSTED_HEADER),
    ):  # fmt: skip
        assert found.refusal(other) is None
    assert found.ended() == (("acme", "jwt:alice"),)
    assert found.readmit("acme", "jwt:alice")
    assert found.refusal(ALICE) is None
    assert not found.readmit("acme", "jwt:alice")


def test_002_08_a_proof_counts_until_its_end() -> None:
    found = Standing(lambda: NOW)
    seconds = NOW.timestamp()
    assert found.refusal(replace(ALICE, until=seconds + 1)) is None
    assert found.refusal(replace(ALICE, until=seconds)) is PROOF_EXPIRED
    late = Standing(lambda: NOW + timedelta(hours=1))
    assert late.refusal(replace(KEYED, until=seconds + 1)) is PROOF_EXPIRED


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "REMEMBERED", 2)
    found = Standing(lambda: NOW)
    for name in ("one", "two", "three"):
        found.end(replace(ALICE, actor=name))
    assert found.ended() == (("acme", "jwt:two"), ("acme", "jwt:three"))

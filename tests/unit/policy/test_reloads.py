"""A long document holds nobody up while it is read."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
from twisted.internet.task import Clock

from appliance.policy.reloads import Reloads
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from appliance.yamldoc import EVENTS_IN_A_STEP
from tests.unit.policy.placed import LISTS_A, LISTS_B, hosts, write

RULES = 1000
LONG = "profile: allowlist\nrules:\n" + "".join(
    f"- {{name: r{number}, hosts: [h{number}.example.net]}}\n" for number in range(RULES)
)


class Turns(Clock):
    """Counts what is put off to a later turn."""

    turns = 0

    def callLater(self, *arguments: Any, **keywords: Any) -> Any:
        self.turns += 1
        return super().callLater(*arguments, **keywords)


def test_a_long_document_is_read_in_many_turns_and_in_force_at_the_end(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    clock, store = Turns(), PolicyStore(settings)
    reloads, done = Reloads(store, clock), []
    reloads.ask().addCallback(done.append)
    assert len(done) == 1, "a short one is read at once"
    write(settings, "tenants/acme.yaml", LONG + "- {name: b, hosts: [b.example.com]}\n")
    reloads.ask().addCallback(done.append)
    assert len(done) == 1
    clock.advance(0)
    assert clock.turns > RULES * 7 / EVENTS_IN_A_STEP
    assert len(done) == 2
    assert hosts(store.current) == {"b.example.com"}


def test_who_asks_meanwhile_is_answered_by_a_reading_that_began_later(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LONG)
    clock, store = Clock(), PolicyStore(settings)
    reloads = Reloads(store, clock)
    told: list[tuple[str, set[str]]] = []

    def tell(policies: PolicySet, who: str) -> None:
        told.append((who, hosts(policies)))

    reloads.ask().addCallback(tell, "first")
    write(settings, "tenants/acme.yaml", LISTS_B)
    reloads.ask().addCallback(tell, "second")
    reloads.ask().addCallback(tell, "third")
    assert not told
    clock.advance(0)
    assert sorted(told) == [("first", set()), ("second", {"b.example.com"}), ("third", {"b.example.com"})]


def test_no_part_of_a_reading_is_done_in_one_piece(settings: Settings) -> None:
    """Parsing, reading, compiling, comparing and letting go: each has steps of its own."""
    write(settings, "tenants/acme.yaml", LONG)
    store = PolicyStore(settings)
    store.reload()
    write(settings, "tenants/acme.yaml", LONG.replace("example.net", "example.org"))
    work, steps = store.reloading(), Counter[str]()
    for _ in work:
        steps[_innermost(work)] += 1
    for part in ("steps", "reading", "compiling_rules", "redundant", "_unreachable_hosts", "letting_go"):
        assert steps[part] >= RULES / 500, part


def _innermost(work: Any) -> str:
    while getattr(work, "gi_yieldfrom", None) is not None:
        work = work.gi_yieldfrom
    return str(work.__name__)


def test_full_collections_are_put_off_while_documents_are_read(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LONG)
    usual, clock = gc.get_threshold(), Clock()
    reloads = Reloads(PolicyStore(settings), clock)
    reloads.ask()
    assert gc.get_threshold() != usual
    clock.advance(0)
    assert gc.get_threshold() == usual


def test_a_mistake_of_ours_is_told_and_does_not_end_reloading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    reloads = Reloads(PolicyStore(settings), Clock())
    failures: list[object] = []
    with monkeypatch.context() as broken:
        broken.setattr("appliance.policy.store.assemble", None)
        reloads.ask().addErrback(failures.append)
    assert len(failures) == 1
    assert gc.get_threshold()[2] < 10_000
    reloads.ask()
    assert hosts(reloads.store.current) == {"a.example.com"}

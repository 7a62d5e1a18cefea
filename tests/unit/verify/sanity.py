"""What holds for every module of rows, whatever it is about."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection
from importlib import import_module
from typing import Any

from appliance.verify import client
from appliance.verify.case import Case, Layer, Outcome, Seat
from appliance.verify.parts import CLIENT
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.first_answer import attempts, disagreements
from tests.unit.verify.recording import Recording

EVIDENCE = {"packets", "requests", "queries", "calls"}
"""What a row may ask its world for while it is made: it counts, and sends nothing."""
OWN_DOCUMENTS = {"D12-ca"}
"""What is allowed and comes from the gateway itself."""
NAMES_ITS_ATTEMPTS = ("fetch", "speak", "datagrams")


def rows_of(module: str) -> list[Case]:
    rows: list[Case] = import_module(f"appliance.verify.{module}").rows(FakeWorld())
    return rows


def assert_sane(module: str, *attacks: str) -> None:
    """The attacks are these, every row has a name of its own and can fail, every script is one."""
    cases = rows_of(module)
    assert {case.attack for case in cases} == set(attacks)
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert case.layers, case.id
        assert case.canaries or case.expect or case.forbid, f"{case.id} cannot fail"
        if case.outcome is Outcome.REACHES:
            assert case.canaries or case.id in OWN_DOCUMENTS, f"{case.id} reaches nobody knows what"
        if case.outcome is Outcome.REFUSED and Layer.SQUID in case.layers:
            assert case.canaries or case.forbid, (
                f"{case.id}: at Squid only canaries and forbidden texts count"
            )
        if case.seat in {Seat.GATEWAY, Seat.RESOLVER, Seat.SQUID}:
            assert case.layers == {Layer.KERNEL}, case.id
        if not callable(case.stimulus):
            assert_compiles(case.id, case.stimulus)


def assert_making_rows_does_nothing(module: str) -> None:
    world: Any = Recording()
    import_module(f"appliance.verify.{module}").rows(world)
    assert {words[0] for words in world.did} <= EVIDENCE


def assert_compiles(name: str, command: tuple[str, ...]) -> None:
    """Scripts within a command have no syntax error."""
    for index, word in enumerate(command[:-1]):
        if word == "-c" and command[index - 1] == "python3":
            compile(command[index + 1], name, "exec")
        if word == "-c" and command[index - 1] == "sh":
            subprocess.run(["sh", "-n", "-c", command[index + 1]], check=True)
            if "python3 -c" in command[index + 1] and "$0" in command[index + 1]:
                compile(command[index + 2], name, "exec")


def assert_errands_are_known(module: str) -> None:
    """What the client is told to do it can, and every answer that is expected belongs to an attempt."""
    for case in rows_of(module):
        if callable(case.stimulus) or CLIENT not in case.stimulus:
            continue
        way, what = case.stimulus[3:]
        assert way in client.WAYS, case.id
        expected = {text.partition(" ")[0] for text in case.expect if ": " in text}
        if way in NAMES_ITS_ATTEMPTS:
            assert expected <= set(json.loads(what)), case.id


def assert_attempts_are_sane(module: str, without_canary: Collection[str] = ()) -> None:
    """For rows made of attempts: no two have one name, and what is expected is what the gateway's code says."""
    cases = rows_of(module)
    for case in cases:
        names = [(attempt["name"], attempt["way"]) for attempt in attempts(case)]
        assert len(set(names)) == len(names), case.id
        assert bool(case.expect) is (Layer.GATEWAY in case.layers), case.id
        if case.outcome is Outcome.REFUSED:
            assert case.canaries or case.id in without_canary, case.id
    assert list(disagreements(cases)) == []

"""What holds for every module of rows, whatever it is about."""

from __future__ import annotations

import subprocess
from importlib import import_module

from appliance.verify.case import Case, Layer, Outcome, Seat
from tests.unit.verify.fake_world import FakeWorld


def rows_of(module: str) -> list[Case]:
    rows: list[Case] = import_module(f"appliance.verify.{module}").rows(FakeWorld())
    return rows


def assert_sane(cases: list[Case], *attacks: str) -> None:
    """Ids are unique, every one of `attacks` has a row, every row can fail, every script is one."""
    assert len({case.id for case in cases}) == len(cases)
    assert set(attacks) <= {case.attack for case in cases}
    for case in cases:
        assert case.layers, case.id
        assert case.canaries or case.expect or case.forbid, f"{case.id} cannot fail"
        assert case.outcome is Outcome.REFUSED or case.canaries, f"{case.id} reaches nobody knows what"
        if case.seat in {Seat.GATEWAY, Seat.RESOLVER, Seat.SQUID}:
            assert case.layers == {Layer.KERNEL}, case.id
        if not callable(case.stimulus):
            assert_compiles(case.id, case.stimulus)


def assert_compiles(name: str, command: tuple[str, ...]) -> None:
    """Scripts within a command have no syntax error."""
    for index, word in enumerate(command[:-1]):
        if word == "-c" and command[index - 1] == "python3":
            compile(command[index + 1], name, "exec")
        if word == "-c" and command[index - 1] == "sh":
            subprocess.run(["sh", "-n", "-c", command[index + 1]], check=True)
            if "python3 -c" in command[index + 1] and "$0" in command[index + 1]:
                compile(command[index + 2], name, "exec")

"""What may be installed with the wheel: said by somebody, and built by nobody on the host."""

from __future__ import annotations

from typing import Any

import pytest
from tasks import evaluated, named, read

ROLE = "roles/appliance"
NOTHING = {"appliance_lock": "", "appliance_wheelhouse": "", "appliance_unpinned": False}


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({}, False), ({"appliance_lock": "appliance.lock"}, True), ({"appliance_wheelhouse": "/srv/wheels"}, True),
        ({"appliance_unpinned": True}, True),
    ],
)  # fmt: skip
def test_something_says_what_may_be_installed(given: dict[str, Any], *, holds: bool) -> None:
    task = named(f"{ROLE}/tasks/preflight.yml", "may be installed")
    defaults = read(f"{ROLE}/defaults/main.yml")
    assert {name: defaults[name] for name in NOTHING} == NOTHING
    assert evaluated(task["ansible.builtin.assert"]["that"], **{**NOTHING, **given}) is holds


def test_pip_builds_nothing() -> None:
    assert "'--only-binary=:all:'" in read(f"{ROLE}/vars/main.yml")["appliance_pip"]
    for task in read(f"{ROLE}/tasks/release.yml")[-1]["block"]:
        words = repr(task.get("ansible.builtin.command", ""))
        assert "install" not in words or "appliance_pip" in words

"""What may be installed with the wheel: said by somebody, and built by nobody on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
from ruamel.yaml import YAML

ROLE = Path(__file__).resolve().parents[3] / "ansible/roles/appliance"
NOTHING = {"appliance_lock": "", "appliance_wheelhouse": "", "appliance_unpinned": False}


def read(name: str) -> Any:
    return YAML(typ="safe").load((ROLE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({}, False), ({"appliance_lock": "appliance.lock"}, True), ({"appliance_wheelhouse": "/srv/wheels"}, True),
        ({"appliance_unpinned": True}, True),
    ],
)  # fmt: skip
def test_something_says_what_may_be_installed(given: dict[str, Any], *, holds: bool) -> None:
    (task,) = [task for task in read("tasks/preflight.yml") if "may be installed" in task["name"]]
    environment = jinja2.Environment(autoescape=False)
    environment.filters["bool"] = bool
    judged = environment.compile_expression(task["ansible.builtin.assert"]["that"])
    defaults = read("defaults/main.yml")
    assert {name: defaults[name] for name in NOTHING} == NOTHING
    assert judged(**{**NOTHING, **given}) is holds


def test_pip_builds_nothing() -> None:
    assert "'--only-binary=:all:'" in read("vars/main.yml")["appliance_pip"]
    for task in read("tasks/release.yml")[-1]["block"]:
        words = repr(task.get("ansible.builtin.command", ""))
        assert "install" not in words or "appliance_pip" in words

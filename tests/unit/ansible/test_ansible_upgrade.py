"""An upgrade leaves a host alone only when it was found well, or says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks import COLLECTION, read

BEGUN = {"path": "{{ upgrade_begun }}", "state": "absent"}
GATE = "upgrading/gate.yml"


def steps(tasks: list[Any]) -> Iterator[dict[str, Any]]:
    """Tasks in the order in which they run when none fails."""
    for task in tasks:
        if "block" in task:
            yield from steps(task["block"])
        else:
            yield task


def places(tasks: list[dict[str, Any]], module: str, words: Any) -> list[int]:
    return [number for number, task in enumerate(tasks) if task.get(f"ansible.builtin.{module}") == words]


def test_an_upgrade_is_marked_from_before_the_link_moves_until_the_host_was_found_well() -> None:
    (play,) = read("playbooks/upgrade.yml")
    tasks = list(steps(play["tasks"]))
    (begins,) = [
        number
        for number, task in enumerate(tasks)
        if task.get("ansible.builtin.copy", {}).get("dest") == "{{ upgrade_begun }}"
    ]
    (switch,) = places(tasks, "include_tasks", "upgrading/switch.yml")
    before, after = places(tasks, "include_tasks", GATE)
    (ends,) = places(tasks, "file", BEGUN)
    assert before < begins < switch < after < ends
    back = list(steps(read("playbooks/upgrading/back.yml")))
    assert places(back, "include_tasks", "gate.yml") < places(back, "file", BEGUN)


def test_a_host_on_which_an_upgrade_was_cut_off_is_judged_at_the_end_whatever_its_link_says() -> None:
    (play,) = read("playbooks/upgrade.yml")
    (left,) = [task for task in play["tasks"] if "leave a host alone" in task["name"].lower()]
    assert left["when"] == "upgrade_from == upgrade_to and not upgrade_open.stat.exists"
    gates = [task for task in steps(play["tasks"]) if task.get("ansible.builtin.include_tasks") == GATE]
    assert [task.get("when") for task in gates] == ["not upgrade_open.stat.exists", None]


def test_the_roles_know_the_mark() -> None:
    (play,) = read("playbooks/upgrade.yml")
    assert read("roles/appliance/vars/main.yml")["appliance_upgrading"] == play["vars"]["upgrade_begun"]
    for file in ("preflight", "remove"):
        text = (COLLECTION / f"roles/appliance/tasks/{file}.yml").read_text(encoding="utf-8")
        assert "appliance_upgrading" in text

"""Images come and go without anything of the operator's."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from tasks import evaluated, flat, named, read

IMAGE = "roles/tenants/tasks/image.yml"
LOOKS = "roles/tenants/tasks/remove_preflight.yml"
REMOVE = "roles/tenants/tasks/remove.yml"
VARIABLES = read("roles/tenants/vars/main.yml")
INCOMING = VARIABLES["tenants_incoming"]
RUNNER = "sha256:0a"


@pytest.mark.parametrize("archive", ["/opt/egress/runner.tar", "/opt/egress/record", "images/current"])
def test_an_archive_is_brought_to_a_place_where_nothing_else_is(archive: str) -> None:
    place = read("roles/tenants/tasks/images.yml")[-1]["vars"]["tenants_place"]
    brought = PurePosixPath(
        evaluated(place, tenants_incoming=INCOMING, tenants_image={"item": {"archive": archive}})
    )
    assert str(brought.parent) == INCOMING
    assert PurePosixPath(INCOMING).parent == PurePosixPath("/opt/egress")
    assert PurePosixPath(INCOMING).name not in ("current", "incoming", "record", "releases")


@pytest.mark.parametrize("on_host", [True, False])
def test_only_what_was_brought_is_taken_away(*, on_host: bool) -> None:
    image = {"item": {"archive": "/srv/runner.tar", "on_host": on_host}}
    given = {"ansible_check_mode": False, "tenants_image": image}
    deletes = [task for task in read(IMAGE) if task.get("ansible.builtin.file", {}).get("state") == "absent"]
    assert [task["ansible.builtin.file"]["path"] for task in deletes] == ["{{ tenants_incoming }}"]
    assert evaluated(deletes[0]["when"], **given) is not on_host
    assert evaluated(named(IMAGE, "Bring the archive")["when"], **given) is not on_host


def used(containers: list[str], *, loaded: bool = True) -> bool:
    """Whether removal is refused where the engine has these containers, each an image and a name."""
    there = [{"rc": 0, "stdout": RUNNER, "item": "egress/runner-python"}] if loaded else []
    task = named(LOOKS, "Want no container")
    lines = {"stdout_lines": containers} if containers else {}
    names = evaluated(task["vars"]["tenants_used"], tenants_users=lines, tenants_there=there)
    return not evaluated(task["ansible.builtin.assert"]["that"], tenants_used=names)


def test_a_container_of_an_image_that_goes_is_named_before_anything_changes() -> None:
    assert used([f"{RUNNER} /theirs"])
    assert not used(["sha256:0b /theirs"])
    assert not used([])
    assert not used([f"{RUNNER} /theirs"], loaded=False)
    assert [task["name"] for task in flat(read(LOOKS)) if task.get("changed_when", False) is not False] == []
    (play,) = read("playbooks/remove.yml")
    roles = [task.get("ansible.builtin.include_role", {}) for task in play["tasks"]]
    steps = [(role.get("name", "").rpartition(".")[2], role.get("tasks_from")) for role in roles]
    asks, takes = steps.index(("tenants", "remove_preflight")), steps.index(("tenants", "remove"))
    assert (
        steps.index(("docker_engine", "remove_preflight")) < asks < steps.index(("verify", "remove")) < takes
    )
    assert read(REMOVE)[0]["ansible.builtin.import_tasks"] == "remove_preflight.yml"


@pytest.mark.parametrize(
    ("ours", "data", "asked"), [(True, True, False), (True, False, True), (False, True, True)]
)
def test_an_engine_that_goes_with_its_data_is_asked_for_no_image(
    *, ours: bool, data: bool, asked: bool
) -> None:
    goes = evaluated(
        VARIABLES["tenants_engine_goes"], docker_engine_ours=ours, docker_engine_remove_data=data
    )
    assert evaluated(named(LOOKS, "Ask the engine for them")["when"], tenants_engine_goes=goes) is asked
    skipped: dict[str, Any] = {"results": [{"skipped": True}]}
    there = evaluated(VARIABLES["tenants_there"], tenants_images_found=skipped)
    assert there == []
    assert named(REMOVE, "images that were loaded")["loop"] == "{{ tenants_there | map(attribute='item') }}"
    assert not evaluated(named(LOOKS, "for its containers")["when"], tenants_there=there)

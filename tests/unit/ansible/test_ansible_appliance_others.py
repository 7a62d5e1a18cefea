"""What another hand has installed is not taken for ours, as the preflight of the role appliance says it."""

from __future__ import annotations

import pytest
from tasks import evaluated, named

ROOT = "/opt/egress"


def is_ours(stat: dict[str, object]) -> bool:
    condition = named("roles/appliance/tasks/preflight.yml", "no other hand")["ansible.builtin.assert"][
        "that"
    ][0]
    found = {"results": [{"stat": stat}]}
    return bool(evaluated(condition, appliance_found=found, appliance_root=ROOT))


@pytest.mark.parametrize(
    "stat", [{"exists": False}, {"exists": True, "islnk": True, "lnk_target": f"{ROOT}/current/bin/egress"}]
)
def test_no_command_and_our_own_link_are_ours(stat: dict[str, object]) -> None:
    assert is_ours(stat)


@pytest.mark.parametrize(
    "stat",
    [
        {"exists": True, "islnk": False},
        {"exists": True, "islnk": True, "lnk_target": "/home/ann/egress"},
        {"exists": True, "islnk": True, "lnk_target": f"{ROOT}-of-ann/egress"},
    ],
)
def test_a_command_of_anothers_is_not(stat: dict[str, object]) -> None:
    assert not is_ours(stat)

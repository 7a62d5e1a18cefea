"""Whose uids and gids are no others', as the variables of the role appliance say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tasks import evaluated, read

from appliance.settings import Settings
from appliance.units.render import Installed, files

VARIABLES = read("roles/appliance/vars/main.yml")
GIVEN = {"appliance_uids": VARIABLES["appliance_uids"], "appliance_instance": "egress"}


def strangers(users: dict[str, list[str]], groups: dict[str, list[str]], **uids: int) -> list[str]:
    given = {**GIVEN, "appliance_settings": {"uids": uids}}
    given["appliance_numbers"] = evaluated(VARIABLES["appliance_numbers"], **given)
    given["ansible_facts"] = {"getent_passwd": users, "getent_group": groups}
    return sorted(evaluated(VARIABLES["appliance_strangers"], **given))


@pytest.mark.parametrize("gid", ["64100", "64101", "64102", "64103", "64104"])
def test_a_group_of_others_is_told(gid: str) -> None:
    assert strangers({}, {"auditors": ["x", gid, "eve"]}) == ["auditors"]


def test_a_user_is_told_by_its_uid_and_by_its_own_group() -> None:
    users = {"eve": ["x", "64101", "1000", "", "/", ""], "mallory": ["x", "1000", "64100", "", "/", ""]}
    assert strangers(users, {}) == ["eve", "mallory"]


def test_numbers_of_the_settings_count() -> None:
    groups = {"auditors": ["x", "64100", ""], "staff": ["x", "50", ""], "others": ["x", "700", ""]}
    assert strangers({}, groups, group=700) == ["others"]


def test_one_whose_name_only_begins_like_ours_is_another() -> None:
    assert strangers({}, {"egress-auditors": ["x", "64104", ""]}) == ["egress-auditors"]


def test_what_the_program_makes_is_its_own() -> None:
    """Users and groups as in its sysusers.d."""
    written = files(Settings(), Installed(Path("/opt/egress/bin/python")))
    (text,) = [file.text for file in written if file.path.parent.name == "sysusers.d"]
    made = re.findall(r"^([ug]) (\S+) ([0-9]+)", text, re.MULTILINE)
    users = {name: ["x", number, number, "", "/", ""] for kind, name, number in made if kind == "u"}
    groups = {name: ["x", number, ""] for _, name, number in made}
    assert len(groups) == 5
    assert set(VARIABLES["appliance_uids"].values()) == {int(number) for _, _, number in made}
    assert strangers(users, groups) == []

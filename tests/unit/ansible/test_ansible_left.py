"""What is left after a removal is looked for where the host had it, and a look that fails is a failure."""

from __future__ import annotations

from tasks import read


def test_no_look_hides_its_failure() -> None:
    tasks = read("playbooks/removing/left.yml")
    assert [task["name"] for task in tasks if {"failed_when", "ignore_errors", "rescue"} & set(task)] == []
    (rules,) = [
        task for task in tasks if task.get("ansible.builtin.command", {}).get("argv", [""])[0] == "nft"
    ]
    assert rules["when"] == "remove_nft.matched > 0"


def test_directories_are_those_of_the_hosts_settings_and_all_that_removal_knows() -> None:
    tasks = {task.get("register"): task for task in read("playbooks/removing/left.yml")}
    looked = tasks["remove_inside"]
    assert (
        looked["ansible.builtin.find"]["paths"]
        == "{{ remove_settings[item.setting] | default(item.otherwise) }}"
    )
    assert looked["vars"]["remove_settings"] == "{{ appliance_installed | default({}) }}"
    named = {item["setting"].removesuffix("_dir"): set(item["named"]) for item in looked["loop"]}
    known = read("roles/appliance/vars/main.yml")["appliance_entries"]
    assert {kind: set(entries) - named[kind] for kind, entries in known.items()} == {
        kind: set() for kind in named
    }
    assert "appliance_places_read" in tasks["remove_made"]["loop"]


def test_what_the_engine_left_is_looked_for_and_what_is_somebody_elses_is_not() -> None:
    tasks = {task.get("register"): task for task in read("playbooks/removing/left.yml")}
    assert "docker_engine_remains" in tasks["remove_engine_paths"]["loop"]
    (said,) = [
        text for task in tasks.values() for text in [(task.get("vars") or {}).get("remove_left")] if text
    ]
    assert "remove_engine_paths.results" in said
    assert "remove_command.stat.lnk_target | default('') is match('/opt/egress/')" in said
    looked = {item["in"]: item.get("saying") for item in tasks["remove_files"]["loop"]}
    assert "/usr/local/bin" not in looked
    assert looked["/etc/systemd/system/docker.service.d"]
    assert looked["/etc/modules-load.d"]

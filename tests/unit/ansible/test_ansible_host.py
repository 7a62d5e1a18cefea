"""What the roles host_baseline and docker_engine take for theirs, and what a removal that is cut off still knows."""

from __future__ import annotations

import re

import pytest
from tasks import COLLECTION, named, read

from appliance.units.render import HEADING

BASELINE = COLLECTION / "roles/host_baseline"


FILES = read("roles/host_baseline/vars/main.yml")


@pytest.mark.parametrize("file", ["templates/zone.xml.j2", "templates/policy.xml.j2", "tasks/modules.yml"])
def test_what_the_role_writes_has_its_marks(file: str) -> None:
    text = (BASELINE / file).read_text(encoding="utf-8")
    assert [mark for mark in FILES["host_baseline_marks"] if not re.search(mark, text)] == []


def test_files_of_the_roles_names_are_looked_at_before_they_are_written_or_taken_away() -> None:
    for file in (BASELINE / "tasks").glob("*.yml"):
        assert not re.search(r"egress(-out)?[.](xml|conf)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    for name in ("preflight", "remove"):
        assert "own_files.yml" in (BASELINE / f"tasks/{name}.yml").read_text(encoding="utf-8")
    gone = named("roles/host_baseline/tasks/remove.yml", "forgets the uplink")
    assert gone["loop"] == "{{ host_baseline_zone_files | intersect(host_baseline_own) }}"
    gone = named("roles/host_baseline/tasks/remove.yml", "No module is loaded")
    assert gone["when"] == "host_baseline_modules_file in host_baseline_own"


def test_what_is_somebody_elses_is_refused() -> None:
    modules = named("roles/host_baseline/tasks/preflight_modules.yml", "somebody else's")
    assert (
        modules["ansible.builtin.assert"]["that"] == "host_baseline_modules_file not in host_baseline_others"
    )
    zones = named("roles/host_baseline/tasks/preflight_firewall.yml", "somebody else's")
    assert zones["vars"] == {
        "host_baseline_zone_others": "{{ host_baseline_zone_files | intersect(host_baseline_others) }}"
    }
    order = named("roles/docker_engine/tasks/preflight.yml", "somebody else's under its name")
    assert HEADING in order["ansible.builtin.assert"]["that"]
    gone = named("roles/appliance/tasks/remove.yml", "Docker's order is the program's")
    assert gone["ansible.builtin.find"]["contains"] == HEADING


@pytest.mark.parametrize("file", ["firewall", "remove"])
def test_a_firewall_that_is_down_is_not_started(file: str) -> None:
    conditions = named(f"roles/host_baseline/tasks/{file}.yml", "Firewalld reads it")["when"]
    assert "ansible_facts.services['firewalld.service'].state | default('') == 'running'" in conditions


def test_what_was_there_before_the_engine_is_forgotten_last() -> None:
    tasks = read("roles/docker_engine/tasks/remove.yml")
    assert tasks[-1]["egress.appliance.docker_remains"]["state"] == "forgotten"
    (paths,) = [task for task in tasks if "docker_engine_remains.paths" in str(task.get("loop"))]
    assert tasks.index(paths) > max(i for i, task in enumerate(tasks) if "egress.appliance.packages" in task)
    ours = named("roles/docker_engine/tasks/remove_preflight.yml", "whether the engine is ours")
    assert "'docker_remains' in docker_engine_kept_record" in str(ours)


def test_an_engine_of_a_package_that_stays_stays() -> None:
    tasks = read("roles/docker_engine/tasks/remove_preflight.yml")
    asked = named("roles/docker_engine/tasks/remove_preflight.yml", "which packages go")
    assert asked["check_mode"] is True
    ours = named("roles/docker_engine/tasks/remove_preflight.yml", "whether the engine is ours")
    assert tasks.index(asked) < tasks.index(ours)
    assert "difference(docker_engine_going.kept)" in ours["ansible.builtin.set_fact"]["docker_engine_ours"]


def test_a_containerd_that_was_there_before_is_not_stopped() -> None:
    stopped = named("roles/docker_engine/tasks/remove_engine.yml", "has stopped")["loop"]
    assert "(['containerd.service'] if 'containerd' in docker_engine_brought else [])" in stopped


def test_forwarding_stays_with_an_engine_that_stays() -> None:
    back = named("roles/host_baseline/tasks/remove.yml", "network has its values back")
    needed = back["egress.appliance.kernel_settings"]["needed"]
    assert "host_baseline_engine.status.ActiveState" in needed
    assert "net.ipv4.ip_forward" in needed
    before = named("roles/docker_engine/tasks/remove.yml", "It does so no more")
    assert before["ansible.builtin.systemd_service"] == {"name": "docker.service", "enabled": False}


def test_an_engine_reads_what_a_run_that_was_cut_off_has_written() -> None:
    settings = named("roles/docker_engine/tasks/settings.yml", "The engine reads them")["when"]
    assert any("docker_engine_live_restore.stdout" in condition for condition in settings)
    admission = named("roles/docker_engine/tasks/admission.yml", "The engine reads it")["when"]
    assert "docker_engine_plugin_named is changed or docker_engine_asked | length == 0" in admission
    forgotten = named("roles/docker_engine/tasks/remove_admission.yml", "The engine reads it")["when"]
    assert "docker_engine_plugin_forgotten" not in forgotten

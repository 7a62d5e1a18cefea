"""What the roles appliance, tenants and broker take away, install and judge, read from their tasks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tasks import COLLECTION, read

from appliance import shared_directories
from appliance.processes import processes
from appliance.settings import Settings
from appliance.units.render import UNITS, Installed, files

ROOT = Path(__file__).resolve().parents[3]
ROLES = COLLECTION / "roles"


def position(tasks: list[dict[str, Any]], words: str) -> int:
    (found,) = [at for at, task in enumerate(tasks) if words in task["name"]]
    return found


VARIABLES = read("roles/appliance/vars/main.yml")
LINKS = re.findall(
    r"'regex_replace', '(\^[^']+)', '([^']+)'",
    (ROLES / "appliance/tasks/installed.yml").read_text(encoding="utf-8"),
)


def test_removal_asks_the_host_and_not_its_variables() -> None:
    for name in ("remove", "installed"):
        text = (ROLES / f"appliance/tasks/{name}.yml").read_text(encoding="utf-8")
        words = set(re.findall(r"\bappliance_\w+", text))
        assert not words & {
            "appliance_settings", "appliance_instance", "appliance_uids", "appliance_places", "appliance_target",
        }  # fmt: skip
    installed = "".join(repr(value) for name, value in VARIABLES.items() if name.startswith("appliance_inst"))
    assert "appliance_installed | default" in installed
    assert not re.search(r"\bappliance_settings\b", installed.replace(VARIABLES["appliance_instance"], ""))


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/var/lib", "/var/log/", "/run", "/usr/share/x", "/proc/1", "/srv", "/var/lib/../log", "//var/lib",
     "/var/lib/docker", "/opt/egress", "/srv/..", "relative", "/var/run", "/var/run/docker", "/var/lock/",
     "/home/ann", "/home/ann/"],
)  # fmt: skip
def test_removal_refuses_directories_of_others(path: str) -> None:
    assert is_astray(path)


def test_every_role_is_removed_as_it_is_installed() -> None:
    """What is derived from the settings of a run comes from those of the host, in `remove.yml`."""
    (play,) = read("playbooks/remove.yml")
    for task in play["tasks"]:
        role = task.get("ansible.builtin.include_role", {}).get("name", "").rpartition(".")[2]
        given = repr(task.get("vars", {}))
        assert role not in ("docker_engine", "broker") or re.search(
            "appliance_installed|remove_instance", given
        ), task["name"]


def is_astray(path: str) -> bool:
    for by_two_names, plain in LINKS:
        path = re.sub(by_two_names, plain, path)
    return (
        not re.match(VARIABLES["appliance_place"], path)
        or re.match(VARIABLES["appliance_system_trees"], path) is not None
        or path.removesuffix("/") in VARIABLES["appliance_shared"]
    )


def test_removal_knows_the_directories_that_the_program_knows() -> None:
    assert tuple(VARIABLES["appliance_shared"]) == shared_directories._SHARED
    trees = "|".join(shared_directories._TREES)
    assert VARIABLES["appliance_system_trees"] == f"/({trees})/|/home/[^/]+/?$"
    for path in ("/run", "/var/run", "/var/lock", "/run/lock", *shared_directories._SHARED):
        for spelled in (path, path.replace("/run/", "/var/run/"), path.replace("/run/lock", "/var/lock")):
            assert shared_directories.is_shared(Path(spelled)), spelled
            assert is_astray(spelled), spelled
    settings = Settings()
    places = (settings.config_dir, settings.state_dir, settings.log_dir, settings.run_dir, Path("/srv/a.b/c"),
              Path("/var/run/egress"), Path("/home/ann/egress"))  # fmt: skip
    assert not [path for path in places if is_astray(str(path))]


def test_removal_finds_the_units_of_its_instance_and_of_no_other() -> None:
    tasks = read("roles/appliance/tasks/remove.yml")
    find = tasks[position(tasks, "Find the units")]["ansible.builtin.find"]
    assert find["read_whole_file"] is True
    found = []
    for instance in ("egress", "egress-b"):
        for file in files(Settings(instance=instance), Installed(Path("/opt/egress/bin/python"))):
            patterns = [
                text.replace("{{ appliance_installed_instance }}", "egress") for text in find["patterns"]
            ]
            contains = find["contains"].replace("{{ appliance_installed_instance }}", "egress")
            if (
                file.path.parent == UNITS
                and any(file.path.match(pattern) for pattern in patterns)
                and re.search(contains, file.text)
            ):
                found.append(file.path.name)
    wanted = [process.name for process in processes(Settings())]
    assert sorted(found) == sorted(
        ["egress.target", "egress-directories.service", *(f"egress-{name}.service" for name in wanted)]
    )


def test_removal_takes_users_by_name_and_number() -> None:
    tasks = read("roles/appliance/tasks/remove.yml")
    users = tasks[position(tasks, "Take the users away")]
    groups = tasks[position(tasks, "Take the groups away")]
    assert users["when"] == "ansible_facts['getent_passwd'][item.0][1] == item.1"
    assert groups["when"] == "ansible_facts['getent_group'][item.0][1] == item.1"
    written = 'g egress 64100\nu egress-broker 64103 "Egress appliance broker"\n'
    (pattern,) = re.findall(r"regex_findall\('(.*?)'\)", users["loop"])
    assert re.findall(pattern, written) == [("egress-broker", "64103")]
    (pattern,) = re.findall(r"regex_findall\('(.*?)'\)", groups["loop"])
    assert re.findall(pattern, written) == [("egress", "64100"), ("egress-broker", "64103")]
    assert position(tasks, "Take the groups away") < position(tasks, "Take the units away")


def locked(file: str) -> dict[str, tuple[str, frozenset[str]]]:
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+)[^\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    return {name: (version, frozenset(re.findall(r"sha256:\w+", hashes))) for name, version, hashes in found}


def test_what_runs_is_locked_as_what_is_tested() -> None:
    runs, tested = locked("appliance.lock"), locked("requirements.lock")
    assert {name: tested.get(name) for name in runs} == runs
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[><=]", name)[0].replace(".", "-") for name in project["dependencies"]}
    assert wanted <= {name.replace(".", "-") for name in runs}
    assert not {"pytest", "mypy", "ruff"} & set(runs)


def test_a_lock_is_installed_by_its_hashes_and_what_is_missing_is_told() -> None:
    tasks = read("roles/appliance/tasks/release.yml")[-1]["block"]
    installs = [task["ansible.builtin.command"]["argv"] for task in tasks if "appliance_pip" in repr(task)]
    lock, wheel, plain = installs
    for argv in (lock, wheel):
        assert "'--require-hashes', '--no-deps', '--requirement'" in argv
    assert "--constraint" not in repr(tasks)
    assert "require-hashes" not in plain
    assert position(tasks, "by its hash") < position(tasks, "See that all is there")


def test_a_release_of_another_wheel_is_told_before_anything_changes() -> None:
    tasks = read("roles/appliance/tasks/preflight.yml")
    told = tasks[position(tasks, "of this wheel")]["ansible.builtin.assert"]["that"]
    assert told.endswith("(appliance_whole_read.content | b64decode | trim) == appliance_release_sum")


def test_documents_are_judged_before_any_is_written() -> None:
    settings = read("roles/appliance/tasks/settings.yml")
    assert settings[0]["ansible.builtin.include_tasks"] == "judge.yml"
    preflight = read("roles/appliance/tasks/preflight.yml")
    assert "judge.yml" in [task.get("ansible.builtin.include_tasks") for task in preflight]
    policies = read("roles/tenants/tasks/policies.yml")
    judged = policies[position(policies, "Judge the policies")]
    assert judged["when"] == "tenants_program_found.stat.exists"
    assert position(policies, "Judge the policies") < position(policies, "Write the policies")


def test_a_passphrase_can_be_kept_before_the_vault_has_it_and_is_kept_once() -> None:
    tasks = read("roles/broker/tasks/credential.yml")
    steps = tasks[0]["block"]
    encryption = steps[position(steps, "Have systemd encrypt")]["ansible.builtin.command"]["argv"]
    assert encryption[-1] == "{{ broker_draft }}"
    order = [
        position(steps, words)
        for words in ("Have systemd encrypt", "may be kept", "Give the open vault", "Put the credential")
    ]
    assert order == sorted(order)
    only = tasks[position(tasks, "no other copy")]
    assert "broker_plain if broker_is_encrypted else broker_encrypted" in only["loop"]

"""The collection's own rules, read from its files: no Ansible is needed, and no host."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tasks import COLLECTION, flat, read

from appliance.cli.secrets import KINDS
from appliance.settings import CREDENTIALS, Settings, Uids
from appliance.workload import TENANT_NAME

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(folder.name for folder in (COLLECTION / "roles").iterdir() if folder.is_dir())
SECRET_VARIABLES = ("broker_vault_passphrase", "item.value", "broker_now")
KEYWORDS = frozenset((
    "name", "when", "tags", "loop", "loop_control", "register", "vars", "become", "delegate_to",
    "changed_when", "failed_when", "check_mode", "no_log", "until", "retries", "delay", "notify", "listen",
    "block", "rescue", "always", "environment", "diff", "run_once", "any_errors_fatal", "args",
))  # fmt: skip


def task_files() -> list[Path]:
    found = [*COLLECTION.glob("roles/*/tasks/*.yml"), *COLLECTION.glob("roles/*/handlers/*.yml")]
    return sorted([*found, *COLLECTION.glob("playbooks/*/*.yml")])


def all_tasks() -> list[tuple[Path, dict[str, Any]]]:
    files = [*task_files(), *COLLECTION.glob("playbooks/*.yml")]
    return [(file, task) for file in files for task in flat(read(file) or [])]


def action(task: dict[str, Any]) -> str | None:
    """The task's module; None for a block and for a play."""
    names = [key for key in task if key not in KEYWORDS]
    return names[0] if len(names) == 1 else None


def options(role: str, entry: str = "main") -> dict[str, Any]:
    found: dict[str, Any] = read(COLLECTION / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return found[entry]["options"] if entry in found else {}  # type: ignore[no-any-return]


def defaults(role: str) -> dict[str, Any]:
    return read(COLLECTION / "roles" / role / "defaults/main.yml") or {}


def topics(role: str) -> list[str]:
    return [match[1] for name in options(role) if (match := re.fullmatch(rf"{role}_(\w+)_enabled", name))]


def test_the_roles_are_those_that_the_manual_names() -> None:
    assert set(ROLES) == {"host_baseline", "docker_engine", "appliance", "tenants", "broker", "verify"}
    readme = (COLLECTION / "README.md").read_text(encoding="utf-8")
    assert all(f"<!-- variables of {role} -->" in readme for role in ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_specification_and_defaults_say_the_same(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert specified == defaults(role)
    for name, option in options(role).items():
        assert not (option.get("required") and "default" in option), name


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_takes_the_same_variables(role: str) -> None:
    """`tasks_from` is judged by a specification of its own: a wrong type is told before anything changes."""
    specified = read(COLLECTION / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    assert {"main", "preflight"} <= set(specified)
    for entry, specification in specified.items():
        assert (COLLECTION / "roles" / role / "tasks" / f"{entry}.yml").is_file()
        assert specification["options"] == specified["main"]["options"], entry


def described(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in found.items():
        yield name, option
        yield from described(option.get("options", {}))


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_a_type_and_says_what_it_is(role: str) -> None:
    for name, option in described(options(role)):
        assert option.get("type"), name
        assert option.get("description"), name
        assert option["type"] != "list" or "elements" in option, name


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_the_roles_prefix(role: str) -> None:
    named = [*options(role), *defaults(role)]
    variables = COLLECTION / "roles" / role / "vars/main.yml"
    named += read(variables) if variables.is_file() else []
    for file in (COLLECTION / "roles" / role / "tasks").glob("*.yml"):
        for task in flat(read(file) or []):
            named += task.get("vars") or []
            named += [task["register"]] if "register" in task else []
            named += [n for n in task.get("ansible.builtin.set_fact") or [] if n != "cacheable"]
            loop = (task.get("loop_control") or {}).get("loop_var")
            named += [loop] if loop else []
    assert [name for name in named if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_topic_is_a_file_a_tag_and_a_switch(role: str) -> None:
    folder = COLLECTION / "roles" / role / "tasks"
    site = [task for play in read(COLLECTION / "playbooks/site.yml") for task in flat(play["tasks"])]
    wanted = topics(role)
    assert wanted
    for topic in wanted:
        assert (folder / f"{topic}.yml").is_file(), topic
        steps = [
            t for t in read(folder / "main.yml") if t.get("ansible.builtin.import_tasks") == f"{topic}.yml"
        ]
        steps += [
            t
            for t in site
            if t.get("ansible.builtin.import_role")
            == {"name": f"egress.appliance.{role}", "tasks_from": topic}
        ]
        assert steps, topic
        for step in steps:
            assert step["tags"] == [topic]
            assert f"{role}_{topic}_enabled" in step["when"]
        assert options(role)[f"{role}_{topic}_enabled"]["type"] == "bool"
        assert options(role)[f"{role}_{topic}_enabled"]["default"] is True
    imported = {
        str(t.get("ansible.builtin.import_tasks", "preflight.yml")) for t in read(folder / "main.yml")
    }
    assert imported <= {f"{topic}.yml" for topic in (*wanted, "preflight")}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_looks_first_and_can_be_taken_back(role: str) -> None:
    folder = COLLECTION / "roles" / role
    first = read(folder / "tasks/main.yml")[0]
    included = first.get("ansible.builtin.include_tasks", {"file": first.get("ansible.builtin.import_tasks")})
    assert included["file"] == "preflight.yml"
    assert (folder / "tasks/remove.yml").is_file()
    assert (folder / "meta/main.yml").is_file()


def changes(task: dict[str, Any]) -> bool:
    """Whether a task of a preflight could change the host."""
    module = action(task)
    looks = ("stat", "slurp", "assert", "set_fact", "getent", "find", "debug", "fail", "setup", "service_facts",
             "import_tasks", "include_tasks", "include_vars", "meta")  # fmt: skip
    if module is None or module in {f"ansible.builtin.{name}" for name in looks}:
        return False
    if module in ("egress.appliance.wheel_facts", "egress.appliance.address_ranges"):
        return False
    if module == "ansible.builtin.command":
        return task.get("changed_when") is not False
    if module == "ansible.builtin.systemd_service":
        return set(task[module]) != {"name"}
    return task.get("check_mode") is not True


@pytest.mark.parametrize("role", ROLES)
def test_a_preflight_changes_nothing(role: str) -> None:
    tasks = read(COLLECTION / "roles" / role / "tasks/preflight.yml")
    assert [task["name"] for task in flat(tasks) if changes(task)] == []


def test_modules_are_named_in_full_and_come_from_ansible_or_from_here() -> None:
    own = {f"egress.appliance.{file.stem}" for file in (COLLECTION / "plugins/modules").glob("*.py")}
    for file, task in all_tasks():
        module = action(task)
        if module is None:
            assert "block" in task or "hosts" in task, (file, task)
            continue
        assert module.startswith("ansible.builtin.") or module in own, (file, module)
        assert task.get("name"), (file, module)


def test_nothing_is_ignored_and_no_shell_is_used() -> None:
    for file, task in all_tasks():
        assert not {"ignore_errors", "ignore_unreachable"} & set(task), file
        assert action(task) not in ("ansible.builtin.shell", "ansible.builtin.raw"), file


def test_a_command_says_whether_it_changes_anything() -> None:
    for file, task in all_tasks():
        if action(task) == "ansible.builtin.command":
            words = task["ansible.builtin.command"]
            assert "changed_when" in task or "creates" in words, (file, task["name"])
            assert "argv" in words, (file, task["name"])


def test_what_carries_a_secret_is_logged_nowhere_and_stands_on_no_command_line() -> None:
    carriers = 0
    for file, task in all_tasks():
        module = action(task)
        if module in (None, *(f"ansible.builtin.{name}" for name in ("assert", "debug", "import_tasks"))):
            continue
        given = repr({key: value for key, value in task.items() if key not in ("when", "loop", "name")})
        speaks = any(
            name in given for name in (*SECRET_VARIABLES, "decrypt", "'path': '{{ broker_plain }}'}")
        )
        if speaks and file.parts[-3] == "broker" and file.stem not in ("definitions", "accounts"):
            assert task.get("no_log") is True, (file, task["name"])
            carriers += 1
        words = task[module]
        line = repr(words.get("argv", "")) if isinstance(words, dict) else ""
        assert not any(name in line for name in SECRET_VARIABLES), (file, task["name"])
    assert carriers >= 6


def test_a_secret_is_in_no_message() -> None:
    """What an assertion says is printed; a length is no secret."""
    for file, task in all_tasks():
        said = task.get("ansible.builtin.assert") or task.get("ansible.builtin.debug") or {}
        texts = [str(said.get(key, "")) for key in ("fail_msg", "success_msg", "msg")]
        for text in texts:
            for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
                assert "broker_vault_passphrase" not in expression, (file, task["name"])
                assert ".value" not in expression, (file, task["name"])
                assert not re.search(r"broker_(credential|plain)_found", expression), (file, task["name"])


def test_what_the_program_knows_and_the_role_says_of_it_is_the_same() -> None:
    variables = read(COLLECTION / "roles/appliance/vars/main.yml")
    assert variables["appliance_known_settings"] == list(Settings.model_fields)
    assert variables["appliance_uids"] == Uids().model_dump()
    assert variables["appliance_configuration"] == str(Settings().config_dir)
    broker = read(COLLECTION / "roles/broker/vars/main.yml")
    assert broker["broker_credential_place"].startswith(f"{CREDENTIALS}/")
    tenants = read(COLLECTION / "roles/tenants/vars/main.yml")
    assert tenants["tenants_names"] == f"^{TENANT_NAME.pattern}$"
    kinds = options("broker")["broker_secrets"]["options"]["kind"]
    assert (tuple(kinds["choices"]), kinds["default"]) == (KINDS, "static")


def test_site_looks_at_every_role_before_it_changes_anything() -> None:
    looks, works = read(COLLECTION / "playbooks/site.yml")
    found = [task["ansible.builtin.import_role"] for task in looks["tasks"]]
    assert {role["name"] for role in found} == {f"egress.appliance.{role}" for role in ROLES}
    assert {role["tasks_from"] for role in found} == {"preflight"}
    assert looks["any_errors_fatal"] is True
    order = [
        (role["name"].rpartition(".")[2], role.get("tasks_from", "main"))
        for role in (task["ansible.builtin.import_role"] for task in works["tasks"])
    ]
    assert order == [
        ("host_baseline", "main"),
        ("docker_engine", "main"),
        ("broker", "credential"),  # the broker reads it when it starts
        ("appliance", "main"),
        ("docker_engine", "admission"),  # dockerd ends at its start while a plugin that it names is away
        ("tenants", "main"),
        ("broker", "main"),
        ("verify", "main"),
    ]


def test_the_manual_is_as_its_script_makes_it() -> None:
    specification = importlib.util.spec_from_file_location("document", COLLECTION / "document.py")
    assert specification is not None
    assert specification.loader is not None
    document = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(document)
    text = (COLLECTION / "README.md").read_text(encoding="utf-8")
    assert document.documented(text) == text
    assert document.documented(text.replace("| `verify_doctor_enabled` | bool |", "| old | str |")) == text
    assert set(document.ROLES) == set(ROLES)


def test_it_is_a_collection_that_can_be_built() -> None:
    galaxy = read(COLLECTION / "galaxy.yml")
    assert (galaxy["namespace"], galaxy["name"]) == ("egress", "appliance")
    assert ".venv" in galaxy["build_ignore"]
    assert read(COLLECTION / "meta/runtime.yml")["requires_ansible"]
    assert not [f for f in COLLECTION.rglob("__init__.py") if ".venv" not in f.parts]

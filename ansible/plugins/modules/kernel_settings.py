#!/usr/bin/python
"""Kernel settings: now, at every start of the host, and back to what they were."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: kernel_settings
short_description: Set kernel settings (sysctl) and record what they were
description:
  - Writes a file below C(/etc/sysctl.d) that holds the settings, and sets those that differ in the kernel.
  - A setting that an administrator's own file there has otherwise is an error, as is one that this kernel
    does not know, or that cannot be written here. Nothing is changed then.
  - Removal deletes the file and gives the kernel the recorded values back, but of a setting that others need
    or that an administrator's file has by then; that one stays as it is.
  - An interface that comes later has the C(net.ipv4.conf.default) of then. The values of those that are
    there are recorded, too; removal gives back what is still the default's.
options:
  settings:
    description: Values by name, as in sysctl.conf(5), in the order in which they are written.
    type: dict
    default: {}
  watched:
    description:
      - Settings that others change on the appliance's behalf; they are recorded, never set, and go back at
        removal before all others.
    type: list
    elements: str
    default: []
  needed:
    description: Settings that others need as they are; removal leaves these alone.
    type: list
    elements: str
    default: []
  file:
    description: The file for every start of the host.
    type: path
    required: true
  state:
    description: Whether the settings shall hold.
    type: str
    choices: [present, absent]
    default: present
  record:
    description: File in which the values before are kept.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would change, and every error that a real run would meet.
  diff_mode:
    support: full
    description: Shows the values before and after.
"""

EXAMPLES = """
- name: Nobody redirects the host's routes
  egress.appliance.kernel_settings:
    settings:
      net.ipv4.conf.all.accept_redirects: 0
    file: /etc/sysctl.d/99-zz-egress-network.conf
    record: /opt/egress/record/host_baseline.json
"""

RETURN = """
kept:
  description: Recorded settings that stay as they are.
  type: list
  elements: str
  returned: when state is absent
set:
  description: Names of the settings that were changed in the kernel.
  type: list
  elements: str
  returned: always
"""

SECTION = "kernel_settings"
INTERFACES = "net.ipv4.conf"
PROC = Path("/proc/sys")
ADMINISTRATORS = (Path("/etc/sysctl.conf"), Path("/etc/sysctl.d"))
HEADING = "# Written by Ansible (egress.appliance.kernel_settings); it is written anew.\n"
_NAME = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_*-]+)+")
_LINE = re.compile(r"^\s*-?([^#;=\s]+)\s*=\s*(.*?)\s*$", re.MULTILINE)


class Refused(Exception):
    """Nothing was changed; the text says why, and what to do."""


def rendered(settings: dict[str, str]) -> str:
    """The file for `settings`."""
    return HEADING + "".join(f"{name} = {value}\n" for name, value in settings.items())


def told(text: str) -> dict[str, str]:
    """The settings that a file of sysctl.conf(5)'s form sets."""
    return {name.replace("/", "."): plain(value) for name, value in _LINE.findall(text)}


def plain(value: Any) -> str:
    """A value as the kernel shows it, with one blank between words; `true` is 1."""
    return str(int(value)) if isinstance(value, bool) else " ".join(str(value).split())


def conflicts(wanted: dict[str, str], files: dict[str, str]) -> list[str]:
    """What an administrator's `files` (text by name) set otherwise than `wanted`."""
    return [
        f"{name} is {found[name]} in {file}, wanted {value}"
        for file, text in sorted(files.items())
        for found in (told(text),)
        for name, value in wanted.items()
        if name in found and found[name] != value
    ]


def place(name: str) -> Path:
    """Where the kernel shows a setting."""
    return PROC / name.replace(".", "/")


def value_of(name: str) -> str:
    """The kernel's value. Raises `OSError`."""
    return plain(place(name).read_text(encoding="ascii", errors="replace"))


def heirs(names: Iterable[str]) -> dict[str, str]:
    """Settings of the interfaces that are there, each with that of `names` that a new one takes."""
    found = {}
    for default in names:
        first, last = default.rpartition(".")[::2]
        if first == f"{INTERFACES}.default":
            for interface in place(INTERFACES).iterdir():
                name = f"{INTERFACES}.{interface.name}.{last}"
                if interface.name not in {"all", "default"} and name not in names and place(name).is_file():
                    found[name] = default
    return found


def _written(name: str, value: str) -> None:
    try:
        place(name).write_text(value, encoding="ascii")
    except OSError as error:
        raise Refused(f"the kernel does not take {name} = {value}: {error.strerror}") from error
    if value_of(name) != value:
        raise Refused(f"the kernel made {value_of(name)} of {name} = {value}; give a value that it takes")


def _others(file: Path) -> dict[str, str]:
    listed = [ADMINISTRATORS[0], *sorted(ADMINISTRATORS[1].glob("*.conf"))]
    # Ours are each other's business: they are the roles' to keep apart.
    found = {path.resolve() for path in listed if path.is_file()} - {file.resolve()}
    texts = {str(path): path.read_text(encoding="utf-8", errors="replace") for path in found}
    return {path: text for path, text in texts.items() if not text.startswith(HEADING)}


def checked(settings: dict[str, Any], watched: list[str], file: Path) -> dict[str, str]:
    """The settings as text, known to the kernel and in nobody's way. Raises `Refused`."""
    wanted = {name: plain(value) for name, value in settings.items()}
    wrong = [name for name in (*wanted, *watched) if not _NAME.fullmatch(name) or "*" in name]
    if wrong:
        raise Refused(f"{', '.join(wrong)}: no name of a kernel setting, such as net.ipv4.ip_forward")
    unknown = [name for name in (*wanted, *watched) if not place(name).is_file()]
    if unknown:
        raise Refused(
            f"this kernel does not know {', '.join(unknown)}, or hides it from a container; "
            "take it out of the role's settings, switch the topic off, "
            "or load the module that brings it"
        )
    disputed = conflicts(wanted, _others(file))
    if disputed:
        raise Refused(
            f"{'; '.join(disputed)}. Take it out of that file, or give that value to the role; "
            "nothing was changed"
        )
    return wanted


def _require_writable(names: list[str]) -> None:
    closed = []
    for name in names:
        try:
            place(name).open("r+b").close()
        except OSError:
            closed.append(name)
    if closed:
        raise Refused(
            f"{', '.join(closed)} cannot be written here: this is a container that shares the kernel of the "
            "machine below, or a kernel that was locked. Set it there, and switch the topic off here"
        )


def set_all(parameters: dict[str, Any], kept: Any, *, check: bool) -> dict[str, Any]:
    """Have the settings hold. Raises `Refused`."""
    file = Path(parameters["file"])
    wanted = checked(parameters["settings"], parameters["watched"], file)
    section = kept.section(SECTION)
    before: dict[str, str] = dict(section.get(str(file), {}))
    inherited = heirs(wanted)
    dropped = {
        name: value
        for name, value in before.items()
        if name not in {*wanted, *inherited, *parameters["watched"]} and place(name).is_file()
    }
    now = {name: value_of(name) for name in (*wanted, *inherited, *parameters["watched"], *dropped)}
    goals = dropped | wanted
    differing = [name for name, value in goals.items() if now[name] != value]
    _require_writable(differing)
    text = rendered(wanted)
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    new_record = {name: before.get(name, value) for name, value in now.items()}
    if not check:
        if new_record != before:
            kept.keep(SECTION, {**section, str(file): new_record})
        for name in differing:
            _written(name, goals[name])
        if text != old:
            kept.replace(file, text, mode=0o644)
        if dropped:
            for name in dropped:
                del new_record[name]
            kept.keep(SECTION, {**section, str(file): new_record})
    return _outcome(differing, now, goals, changed=bool(differing) or text != old)


def restore(parameters: dict[str, Any], kept: Any, *, check: bool) -> dict[str, Any]:
    """Give the kernel back what was recorded. Raises `Refused`."""
    file = Path(parameters["file"])
    section = kept.section(SECTION)
    known = {name: value for name, value in section.get(str(file), {}).items() if place(name).is_file()}
    ours = told(file.read_text(encoding="utf-8")) if file.is_file() else {}
    inherited = heirs(ours)
    others = set(parameters["needed"]).union(*map(told, _others(file).values()))
    before = {name: value for name, value in known.items() if not others & {name, inherited.get(name)}}
    now = {name: value_of(name) for name in before}
    # An interface's own value is an administrator's, unless it is the one that we recorded or the default's.
    theirs = {
        name: now[name] for name, default in inherited.items() if name in now and now[name] != ours[default]
    }
    goals = before | theirs
    first = [name for name in parameters["watched"] if name in before]
    # A watched one may reset others when it is written (kernel, ip-sysctl.rst, ip_forward).
    order = [*first, *(name for name in before if name not in first)]
    differing = [name for name in order if now[name] != goals[name]]
    _require_writable(differing)
    if not check:
        for name in differing:
            _written(name, goals[name])
        for name in (name for name in order if value_of(name) != goals[name]):
            _written(name, goals[name])
        file.unlink(missing_ok=True)
        kept.keep(SECTION, {path: values for path, values in section.items() if path != str(file)})
    outcome = _outcome(differing, now, goals, changed=str(file) in section or bool(differing))
    return {**outcome, "kept": sorted(known.keys() - before.keys())}


def _outcome(
    differing: list[str], now: dict[str, str], goals: dict[str, str], *, changed: bool
) -> dict[str, Any]:
    return {
        "changed": changed,
        "set": differing,
        "diff": {
            "before": "".join(f"{name} = {now[name]}\n" for name in differing),
            "after": "".join(f"{name} = {goals[name]}\n" for name in differing),
        },
    }


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415
    from ansible_collections.egress.appliance.plugins.module_utils.record import (  # noqa: PLC0415
        Record,
        RecordError,
    )

    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "watched": {"type": "list", "elements": "str", "default": []},
            "needed": {"type": "list", "elements": "str", "default": []},
            "file": {"type": "path", "required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    act = set_all if module.params["state"] == "present" else restore
    try:
        outcome = act(module.params, Record(module.params["record"]), check=module.check_mode)
    except (Refused, RecordError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""What a Docker engine leaves on a host when it has stopped, and taking it away again."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: docker_remains
short_description: Take away what a stopped Docker engine leaves
description:
  - An engine leaves its chains, the policy of the chain FORWARD, its bridge and mounts of namespaces behind
    until the host starts anew, and its group and directories for good. Purging its packages does not change
    that.
  - With I(state=recorded), before the engine comes, it keeps what of these there was. With I(state=absent),
    after it has stopped, Docker's own rules and chains go, and those tables of iptables that were not there
    before and are empty now. Rules of others stay.
  - The record stays until I(state=forgotten), so that a removal that is cut off goes on where it was.
  - Directories hold data. They are named and left.
options:
  state:
    description: Keep what there is, take away what came, or forget what there was.
    type: str
    choices: [recorded, absent, forgotten]
    required: true
  record:
    description: File in which it is kept what was there before.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would go.
"""

EXAMPLES = """
- name: Remember the host's tables before the engine fills them
  egress.appliance.docker_remains:
    state: recorded
    record: /opt/egress/record/docker_engine.json
"""

RETURN = """
removed:
  description: Commands that took something away, or would.
  type: list
  elements: str
  returned: when state is absent
paths:
  description: The engine's directories that are there, and were not before.
  type: list
  elements: str
  returned: when state is absent
modes:
  description: The engine's directories that were there before, with a mode that was another.
  type: list
  elements: dict
  returned: when state is absent
"""

SECTION = "docker_remains"
BRIDGE = "docker0"
GROUP = "docker"
DIRECTORIES = (
    "/etc/cni",
    "/etc/docker",
    "/opt/containerd",
    "/run/containerd",
    "/run/docker",
    "/run/docker.sock",
    "/var/lib/containerd",
    "/var/lib/docker",
)
TABLES = ("raw", "mangle", "nat", "filter")
PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}
MOUNTED = ("/run/docker/", "/var/run/docker/", "/var/lib/docker/")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_CHAIN = re.compile(r"^:(\S+) (\S+)", re.MULTILINE)
_RULE = re.compile(r"^-A (.+)$", re.MULTILINE)

Commands = list[list[str]]


class Refused(Exception):
    """Nothing more was changed; the text says why, and what to do."""


def is_dockers(chain: str) -> bool:
    """Whether Docker made the chain."""
    return chain == "DOCKER" or chain.startswith("DOCKER-")


def undone(saved: str, *, policy_before: str) -> Commands:
    """Arguments of iptables that take Docker's part out of a table, given as iptables-save(8) prints it.

    The engine sets the policy of FORWARD to DROP; it goes back to `policy_before`.
    """
    chains = dict(_CHAIN.findall(saved))
    ours = [chain for chain in chains if is_dockers(chain)]
    commands = []
    for line in _RULE.findall(saved):
        words = shlex.split(line)
        jump = words[words.index("-j") + 1] if "-j" in words else ""
        if words[0] not in ours and (is_dockers(jump) or BRIDGE in words):
            commands.append(["-D", *words])
    commands += [["-F", chain] for chain in ours] + [["-X", chain] for chain in ours]
    if ours and chains.get("FORWARD") == "DROP" and policy_before == "ACCEPT":
        commands.append(["-P", "FORWARD", "ACCEPT"])
    return commands


def is_empty(listed: str) -> bool:
    """Whether a table, as `nft --json list table` prints it, has no rule, set or closed chain any more."""
    objects = [
        item for item in json.loads(listed)["nftables"] if "metainfo" not in item and "table" not in item
    ]
    return all("chain" in item and item["chain"].get("policy", "accept") == "accept" for item in objects)


def mounts(table: str) -> list[str]:
    """Docker's mount points in a text of /proc/mounts, innermost first."""
    points = [line.split()[1] for line in table.splitlines()]
    return sorted((point for point in points if point.startswith(MOUNTED)), reverse=True)


def _program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def _read(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def _tables() -> list[list[str]]:
    nft = _program("nft")
    listed = json.loads((nft and _read(nft, "--json", "list", "tables")) or '{"nftables": []}')["nftables"]
    return [[item["table"]["family"], item["table"]["name"]] for item in listed if "table" in item]


def _saved(family: str, table: str) -> str:
    save = _program(f"{PROGRAMS[family]}-save")
    return _read(save, "-t", table) if save else ""


def _before() -> dict[str, Any]:
    there = _tables()
    # A table that is not there is made for a question about it: only those are asked that are.
    asked = [family for family in PROGRAMS if [family, "filter"] in there]
    policies = {family: dict(_CHAIN.findall(_saved(family, "filter"))).get("FORWARD") for family in asked}
    return {
        "tables": there,
        "forward": policies,
        "paths": _paths(),
        "modes": _modes(),
        "group": _has_group(),
    }


def _paths() -> list[str]:
    """The engine's directories that are there, and what is right in them."""
    there = [path for path in map(Path, DIRECTORIES) if path.exists()]
    inside = [str(file) for path in there if path.is_dir() for file in path.iterdir()]
    return sorted([*map(str, there), *inside])


def _modes() -> dict[str, str]:
    there = [path for path in DIRECTORIES if Path(path).is_dir()]
    return {path: f"{stat.S_IMODE(Path(path).stat().st_mode):04o}" for path in there}


def _came(now: list[str], before: list[str]) -> list[str]:
    """What came beside all that was there; a directory that had something in it before keeps all."""
    kept = {path for path in before if any(file.startswith(f"{path}/") for file in before)}
    new = [path for path in now if path not in before and str(Path(path).parent) not in kept]
    return [path for path in new if str(Path(path).parent) not in new]


def _has_group() -> bool:
    lines = Path("/etc/group").read_text(encoding="utf-8").splitlines()
    return any(line.startswith(f"{GROUP}:") for line in lines)


def _going(section: dict[str, Any]) -> Commands:
    commands: Commands = []
    for family, program in PROGRAMS.items():
        policy = (section.get("forward") or {}).get(family) or "ACCEPT"
        for table in TABLES:
            if [family, table] in _tables():
                arguments = undone(_saved(family, table), policy_before=policy)
                commands += [[program, "-w", "-t", table, *words] for words in arguments]
    commands += [["umount", point] for point in mounts(Path("/proc/mounts").read_text(encoding="utf-8"))]
    if Path("/sys/class/net", BRIDGE).exists():
        commands.append(["ip", "link", "delete", BRIDGE])
    if _has_group() and section.get("group") is False:
        commands.append(["groupdel", GROUP])
    return commands


def _emptied(section: dict[str, Any]) -> Commands:
    if "tables" not in section:
        return []
    new = [[family, name] for family, name in _tables() if [family, name] not in section["tables"]]
    return [
        ["nft", "delete", "table", family, name]
        for family, name in new
        if family in PROGRAMS and name in TABLES
        if is_empty(_read("nft", "--json", "list", "table", family, name))
    ]


def _do(commands: Commands) -> None:
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Refused(
                f"{shlex.join(command)}: {done.stderr.strip()}; stop the engine, then run this again"
            )


def run(parameters: dict[str, Any], kept: Any, *, check: bool) -> dict[str, Any]:
    """Do what `parameters` say (see DOCUMENTATION), or tell it. Raises `Refused`."""
    section = kept.section(SECTION)
    if parameters["state"] == "recorded":
        if not section and not check:
            kept.keep(SECTION, _before())
        return {"changed": not section}
    if parameters["state"] == "forgotten":
        if section and not check:
            kept.keep(SECTION, {})
        return {"changed": bool(section)}
    commands = _going(section)
    now = _paths()
    paths = _came(now, section.get("paths", now))
    if not check:
        _do(commands)
        emptied = _emptied(section)
        _do(emptied)
        commands += emptied
    removed = [shlex.join(command) for command in commands]
    modes = _modes()
    other = [
        {"path": path, "mode": mode}
        for path, mode in section.get("modes", {}).items()
        if modes.get(path, mode) != mode
    ]
    return {"changed": bool(commands), "removed": removed, "paths": paths, "modes": other}


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415
    from ansible_collections.egress.appliance.plugins.module_utils.record import (  # noqa: PLC0415
        Record,
        RecordError,
    )

    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["recorded", "absent", "forgotten"], "required": True},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        outcome = run(module.params, Record(module.params["record"]), check=module.check_mode)
    except (Refused, RecordError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

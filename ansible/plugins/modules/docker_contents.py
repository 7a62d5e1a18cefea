#!/usr/bin/python
"""What a Docker engine holds that the appliance did not bring, by name."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: docker_contents
short_description: Name what a Docker engine holds that is not the appliance's
description:
  - Containers, volumes, images, networks and plugins. An engine that goes takes all of them along, and a
    containerd that goes those of its namespaces that are not Docker's.
  - The appliance's are networks of its own driver, and the images that C(loaded) lists.
  - Nothing is changed.
options:
  driver:
    description: Driver of the appliance's networks.
    type: str
    required: true
  loaded:
    description: File that names an image in each line, those that a role has loaded. It need not be there.
    type: path
    required: true
  containerd:
    description: Whether containerd goes, too.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Looks, as always.
"""

EXAMPLES = """
- name: Ask the engine what else it holds
  egress.appliance.docker_contents:
    driver: egress
    loaded: /opt/egress/record/tenants.images
    containerd: true
  register: found
"""

RETURN = """
foreign:
  description: Kind and name of each, such as C(volume data).
  type: list
  elements: str
  returned: always
"""

_NAME_OR_ID = '{{if eq .Repository "<none>"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}'
QUESTIONS = {
    "container": ("docker", "ps", "--all", "--format", "{{.Names}}"),
    "volume": ("docker", "volume", "ls", "--format", "{{.Name}}"),
    "image": ("docker", "image", "ls", "--format", _NAME_OR_ID),
    "network": ("docker", "network", "ls", "--filter", "type=custom", "--format", "{{.Driver}} {{.Name}}"),
    "plugin": ("docker", "plugin", "ls", "--format", "{{.Name}}"),
    "containerd namespace": ("ctr", "namespaces", "ls", "--quiet"),
}
"""Kind by kind, the command that lists it; a network comes after its driver."""
DOCKERS = ("moby", "plugins.moby")
"""Docker's namespaces in containerd."""
_UNTAGGED = re.compile(r"(?:.*/)?[^:/@]+")


class Refused(Exception):
    """The engine could not be asked; the text says what to do."""


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    """What `parameters` ask for (see DOCUMENTATION). Raises `Refused`."""
    loaded = Path(parameters["loaded"])
    names = loaded.read_text(encoding="utf-8").split() if loaded.exists() else []
    images = {f"{name}:latest" if _UNTAGGED.fullmatch(name) else name for name in names}
    ours: dict[str, Collection[str]] = {"image": images, "containerd namespace": DOCKERS}
    foreign = []
    for kind, question in QUESTIONS.items():
        if question[0] == "ctr" and not parameters["containerd"]:
            continue
        for line in _asked(*question):
            if kind == "network":
                driver, _, name = line.partition(" ")
                theirs = driver != parameters["driver"]
            else:
                name, theirs = line, line not in ours.get(kind, ())
            if theirs:
                foreign.append(f"{kind} {name}")
    return {"changed": False, "foreign": foreign}


def _asked(*words: str) -> list[str]:
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Refused(f"no {words[0]} here to ask the engine with; install the engine's command") from error
    if done.returncode != 0:
        raise Refused(f"{words[0]} {words[1]}: {done.stderr.strip()}; mend the engine, then run this again")
    return done.stdout.splitlines()


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "driver": {"type": "str", "required": True},
            "loaded": {"type": "path", "required": True},
            "containerd": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        outcome = run(module.params)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

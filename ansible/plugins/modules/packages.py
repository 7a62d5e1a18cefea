#!/usr/bin/python
"""Debian packages, and a record of every one that came with them, so that they can go again."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: packages
short_description: Install Debian packages and record what came, or take that away
description:
  - Installs what is missing of a list, without recommendations, and never at the price of another package.
  - Every package that comes, dependencies too, is recorded before it comes. M(ansible.builtin.apt) does not
    say which these are, and brings python3-apt to the host itself.
  - Removal purges what was recorded, except what a package needs that was not, and what somebody uses by
    now, as a configuration file that is not as it came or a unit that was not enabled then tells.
    What stays is told with its reason as a warning, in check mode, too.
options:
  names:
    description: Packages that shall be installed. With I(state=absent) the record says what goes.
    type: list
    elements: str
    default: []
  state:
    description: Whether the packages shall be there.
    type: str
    choices: [present, absent]
    default: present
  record:
    description: File in which it is kept what came.
    type: path
    required: true
  leavings:
    description:
      - Files and directories that the packages or their programs make, and that stay when they are purged.
        Those that were not there before go with the packages, as far as they hold links and nothing else.
    type: list
    elements: path
    default: []
  start_services:
    description: Let packages start the services that they bring.
    type: bool
    default: false
  cache_valid_time:
    description: Seconds for which the lists of packages are new enough; an installation fetches older ones.
    type: int
    default: 3600
attributes:
  check_mode:
    support: full
    description: Simulates; without lists of packages it knows the missing ones, and not their dependencies.
"""

EXAMPLES = """
- name: The programs that the appliance starts are there
  egress.appliance.packages:
    names: [nftables, iproute2]
    record: /opt/egress/record/host_baseline.json

- name: What we brought is gone
  egress.appliance.packages:
    state: absent
    record: /opt/egress/record/host_baseline.json
"""

RETURN = """
packages:
  description: Packages that came, or went.
  type: list
  elements: str
  returned: always
brought:
  description: All packages that came so far, by the record.
  type: list
  elements: str
  returned: when state is present
kept:
  description: Recorded packages that stay, for others need or use them by now.
  type: list
  elements: str
  returned: when state is absent
"""

SECTION = "packages"
LISTS = Path("/var/lib/apt/lists")
POLICY = Path("/usr/sbin/policy-rc.d")
ASIDE = Path("/usr/sbin/policy-rc.d.before-egress")
# 101 is "action forbidden by policy" (deb-systemd-invoke(1p), invoke-rc.d(8)).
NO_START = "#!/bin/sh\n# Of egress.appliance.packages, while it installs: no service starts.\nexit 101\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?")
_SIMULATED = re.compile(r"^(Inst|Remv|Purg) (\S+)( \[[^\]]*\])?", re.MULTILINE)


class Refused(Exception):
    """Nothing was changed; the text says why, and what to do."""


def simulated(text: str) -> tuple[set[str], set[str]]:
    """What `apt-get --simulate` says: packages that would be new, and those that would go."""
    lines = _SIMULATED.findall(text)
    new = {name for word, name, version in lines if word == "Inst" and not version}
    return new, {name for word, name, _ in lines if word != "Inst"}


def complaint(text: str) -> str:
    """What apt-get says went wrong, in one line."""
    lines = [line[3:] for line in text.splitlines() if line.startswith("E: ")]
    return "; ".join(lines) or (text.strip().splitlines() or ["no reason given"])[-1]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise Refused(f"no {command[0]} here: these roles know Debian and its relatives alone") from error


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold")
    return _run("apt-get", *options, *arguments)


def installed() -> set[str]:
    """Names of the packages that are installed; of another architecture than the host's also with it."""
    listed = _run("dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package}\n").stdout.split("\n")
    names = {line.partition(" ")[2] for line in listed if line.startswith("installed ")}
    return names | {name.partition(":")[0] for name in names}


def install(parameters: dict[str, Any], kept: Any, *, check: bool) -> dict[str, Any]:
    """Bring what is missing. Raises `Refused`."""
    wrong = [name for name in parameters["names"] if not _NAME.fullmatch(name)]
    if wrong:
        raise Refused(f"{', '.join(wrong)}: no name of a Debian package")
    missing = sorted(set(parameters["names"]) - installed())
    earlier = kept.section(SECTION).get("brought", [])
    mended = not check and put_back()
    if not missing:
        return {"changed": mended, "packages": [], "brought": earlier}
    if not check:
        _refresh(parameters["cache_valid_time"])
    elif not any(LISTS.glob("*_Packages*")):
        return {"changed": True, "packages": missing, "brought": earlier}
    trial = _apt_get("--simulate", "--no-install-recommends", "install", *missing)
    if trial.returncode != 0:
        raise Refused(
            f"cannot install {', '.join(missing)}: {complaint(trial.stderr)}; "
            "mend the host's sources of packages"
        )
    new, lost = simulated(trial.stdout)
    if lost:
        raise Refused(
            f"to install {', '.join(missing)} would remove {', '.join(sorted(lost))}; "
            "remove these yourself, or leave ours out of the role's list of packages"
        )
    if not check:
        section = _section(kept.section(SECTION), new, parameters["leavings"])
        kept.keep(SECTION, section)
        with _Quiet(wanted=not parameters["start_services"]):
            done = _apt_get("--yes", "--no-install-recommends", "--no-remove", "install", *missing)
        if done.returncode != 0:
            raise Refused(
                f"the installation of {', '.join(missing)} failed half-way: {complaint(done.stderr)}; "
                "mend it (dpkg --configure -a), then run this again"
            )
        kept.keep(SECTION, {**section, "enabled": section.get("enabled", {}) | enabled(new)})
    return {"changed": True, "packages": sorted(new), "brought": sorted({*earlier, *new})}


def _section(section: dict[str, Any], new: set[str], leavings: list[str]) -> dict[str, Any]:
    """The record once `new` is there: what is not there yet of `leavings` is theirs."""
    theirs = [path for path in leavings if not os.path.lexists(path)]
    return {
        **section,
        "brought": sorted({*section.get("brought", []), *new}),
        "leavings": sorted({*section.get("leavings", []), *theirs}),
    }


def _refresh(valid: int) -> None:
    stamps = [file.stat().st_mtime for file in (LISTS, *LISTS.glob("*_*Release"))]
    if any(LISTS.glob("*_Packages*")) and time.time() - max(stamps) < valid:
        return
    done = _apt_get("-o", "APT::Update::Error-Mode=any", "update")
    if done.returncode != 0:
        raise Refused(
            f"the lists of packages cannot be fetched: {complaint(done.stderr)}; mend the host's sources"
        )


class _Quiet:
    """While this holds, packages start no service: some bring an open proxy or server of their own."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        if self._wanted:
            put_back()
            if os.path.lexists(POLICY):
                POLICY.rename(ASIDE)
            POLICY.write_text(NO_START)
            POLICY.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            put_back()


def put_back() -> bool:
    """Let packages start services as the host has it; whether another run had left that undone.

    A run that is killed puts nothing back: the text says that it is ours, and the host's own lies beside it.
    """
    found = is_ours()
    if found:
        POLICY.unlink()
    if os.path.lexists(ASIDE) and not os.path.lexists(POLICY):
        ASIDE.rename(POLICY)
        found = True
    return found


def is_ours() -> bool:
    """Whether it is this module that keeps services from starting."""
    return POLICY.is_file() and POLICY.read_bytes() == NO_START.encode()


def enabled(names: set[str]) -> dict[str, list[str]]:
    """Of each package of `names`, the units that start with the host."""
    listed = _run("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain").stdout
    started = {line.split()[0] for line in listed.splitlines() if line.strip()}
    found: dict[str, list[str]] = {name: [] for name in sorted(names)}
    for line in _run("dpkg-query", "--search", "*/systemd/system/*").stdout.splitlines():
        name, unit = line.partition(":")[0], Path(line.rpartition(": ")[2])
        if name in names and unit.parent.name == "system" and unit.name in started:
            found[name].append(unit.name)
    return found


def edited(names: set[str]) -> dict[str, list[str]]:
    """Of packages, the configuration files that are not as they came."""
    listed = _run("dpkg-query", "-W", "-f", "${Package}\n${Conffiles}\n", *sorted(names)).stdout
    found: dict[str, list[str]] = {}
    name = ""
    for line in listed.splitlines():
        if not line.startswith(" "):
            name = line or name
            continue
        path, digest = line.split()[:2]
        file = Path(path)
        if file.is_file() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != digest:
            found.setdefault(name, []).append(path)
    return found


def used(names: set[str], before: dict[str, list[str]]) -> dict[str, str]:
    """Those of `names` that somebody has taken into use, and by what; `before`: units that came enabled."""
    now = enabled(names & before.keys())
    reasons = {name: [f"{path} was edited" for path in paths] for name, paths in edited(names).items()}
    for name, units in now.items():
        new = [f"{unit} was enabled" for unit in units if unit not in before[name]]
        reasons[name] = [*reasons.get(name, []), *new]
    return {name: ", ".join(why) for name, why in reasons.items() if why and name in names}


def stays(ours: set[str], goes_with: Any) -> set[str]:
    """Those of `ours` that would take a package of somebody else along.

    `goes_with(names)` says what goes, and what would come in its place, when `names` are removed.
    """
    if not goes_with(sorted(ours)) - ours:
        return set()
    return {name for name in ours if goes_with([name]) - ours}


def _goes_with(names: list[str]) -> set[str]:
    trial = _apt_get("--simulate", "purge", *names)
    if trial.returncode != 0:
        raise Refused(f"cannot remove {', '.join(names)}: {complaint(trial.stderr)}")
    new, gone = simulated(trial.stdout)
    return new | gone


def remove(kept: Any, *, check: bool) -> dict[str, Any]:
    """Purge what was brought and nobody else needs. Raises `Refused`."""
    section = kept.section(SECTION)
    there = installed()
    brought = {name for name in section.get("brought", []) if name in there}
    reasons = used(brought, section.get("enabled", {})) if brought else {}
    ours = brought - reasons.keys()
    needed = stays(ours, _goes_with) if ours else set()
    staying = needed | reasons.keys()
    going = sorted(ours - needed)
    mended = not check and put_back()  # a package that goes stops its services by the same policy
    if going and not check:
        done = _apt_get("--yes", "purge", *going)
        if done.returncode != 0:
            raise Refused(
                f"the removal of {', '.join(going)} failed: {complaint(done.stderr)}; run this again"
            )
    if not check:
        # What stays may still use what it made.
        for path in section.get("leavings", []) if not staying else []:
            _clear(Path(path))
        kept.keep(SECTION, {})
    told = [f"{name} stays: {reasons.get(name, 'others need it')}" for name in sorted(staying)]
    return {"changed": bool(section) or mended, "packages": going, "kept": sorted(staying), "told": told}


def _clear(path: Path) -> None:
    """Delete what holds nothing: links, empty files, empty directories. Anything else is somebody's."""
    if path.is_dir() and not path.is_symlink():
        for inside in path.iterdir():
            _clear(inside)
        if not any(path.iterdir()):
            path.rmdir()
    elif path.is_symlink() or (path.is_file() and path.stat().st_size == 0):
        path.unlink()


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415
    from ansible_collections.egress.appliance.plugins.module_utils.record import (  # noqa: PLC0415
        Record,
        RecordError,
    )

    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "required": True},
            "leavings": {"type": "list", "elements": "path", "default": []},
            "start_services": {"type": "bool", "default": False},
            "cache_valid_time": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    kept = Record(module.params["record"])
    try:
        if module.params["state"] == "present":
            outcome = install(module.params, kept, check=module.check_mode)
        else:
            outcome = remove(kept, check=module.check_mode)
    except (Refused, RecordError, OSError) as error:
        module.fail_json(msg=str(error))
    for text in outcome.pop("told", []):
        module.warn(text)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Settings of the Docker engine, merged into the file that an operator may have written before."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: daemon_json
short_description: Merge settings into the Docker engine's configuration file
description:
  - Puts settings into C(daemon.json) and leaves everything else in it as it stands. Lists are united,
    objects are merged, and a value that somebody else has set otherwise is an error.
  - What it added is recorded; removal takes away that alone. A file that is then as it was before gets its
    old text back, and a file that was not there goes.
  - The text before stays beside the file, with C(.before-egress) after its name, until removal.
  - The engine is not told; send it SIGHUP, or restart it for settings that it does not reload.
options:
  path:
    description: The file.
    type: path
    default: /etc/docker/daemon.json
  settings:
    description:
      - Settings that shall be in the file. With I(state=absent), those of them that this module added are
        taken away; without any, all that it added.
    type: dict
    default: {}
  state:
    description: Whether the settings shall be there.
    type: str
    choices: [present, absent]
    default: present
  record:
    description: File in which it is kept what was added, and the text before.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would change, and every error that a real run would meet.
  diff_mode:
    support: full
    description: Shows the file before and after.
"""

EXAMPLES = """
- name: Containers survive a restart of the engine
  egress.appliance.daemon_json:
    settings:
      live-restore: true
    record: /opt/egress/record/docker_engine.json

- name: The engine asks the admission plugin
  egress.appliance.daemon_json:
    settings:
      authorization-plugins: [egress]
    record: /opt/egress/record/docker_engine.json

- name: The file is as it was before
  egress.appliance.daemon_json:
    state: absent
    record: /opt/egress/record/docker_engine.json
"""

RETURN = """
path:
  description: The file, with symbolic links followed.
  type: str
  returned: always
added:
  description: All that this module has put into the file, and is there for it.
  type: dict
  returned: always
"""

SECTION = "daemon_json"
BACKUP = ".before-egress"


class Refused(Exception):
    """Nothing was changed; the text says why, and what to do."""


def parsed(text: str | None, path: Path) -> dict[str, Any]:
    """The settings in a file's text; none for no file or an empty one. Raises `Refused`."""
    if text is None or not text.strip():
        return {}
    try:
        settings = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, path))
    except ValueError as error:
        raise Refused(f"{path} is not JSON ({error}); mend it, nothing was changed") from error
    if not isinstance(settings, dict):
        raise Refused(f"{path} holds no JSON object; mend it, nothing was changed")
    return settings


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused(f"{path} has {', '.join(twice)} twice; leave one of them, nothing was changed")
    return dict(pairs)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, where `true` is no 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def merged(
    current: dict[str, Any], wanted: dict[str, Any], added: dict[str, Any], path: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`current` with `wanted` in it, and all that was added so far. Raises `Refused` with every conflict."""
    conflicts: list[str] = []
    after, ours = _merged(current, wanted, added, "", conflicts)
    if conflicts:
        raise Refused(
            f"{path} has settings of somebody else: {'; '.join(conflicts)}. "
            "Take them out of the file, or give the same values here; nothing was changed"
        )
    return after, ours


def _merged(
    current: dict[str, Any], wanted: dict[str, Any], added: dict[str, Any], place: str, conflicts: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    after, ours = dict(current), dict(added)
    for name, value in wanted.items():
        where = f"{place}{name}"
        if name not in current:
            after[name] = ours[name] = value
        elif isinstance(value, dict) and isinstance(current[name], dict):
            earlier = added.get(name) if isinstance(added.get(name), dict) else None
            after[name], inner = _merged(current[name], value, earlier or {}, f"{where}.", conflicts)
            ours |= {name: inner} if inner else {}
        elif isinstance(value, list) and isinstance(current[name], list):
            new = [item for item in value if not _within(item, current[name])]
            after[name] = [*current[name], *new]
            earlier = added.get(name) if isinstance(added.get(name), list) else None
            ours |= {name: [*(earlier or []), *new]} if new else {}
        elif not same(current[name], value):
            if name in added and same(added[name], current[name]):
                after[name] = ours[name] = value
            else:
                conflicts.append(f"{where} is {json.dumps(current[name])}, wanted {json.dumps(value)}")
    return after, ours


def without(
    current: dict[str, Any], taken: dict[str, Any], added: dict[str, Any], before: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`current` without what of `taken` was added, and what of `added` is left.

    A value that somebody changed since is theirs and stays. Lists and objects that are empty then go, unless
    they were there `before`.
    """
    after, ours = dict(current), dict(added)
    for name in taken.keys() & added.keys():
        now, mine, gone = current.get(name), added[name], taken[name]
        if isinstance(now, dict) and isinstance(mine, dict) and isinstance(gone, dict):
            was = before.get(name)
            after[name], ours[name] = without(now, gone, mine, was if isinstance(was, dict) else {})
        elif isinstance(now, list) and isinstance(mine, list) and isinstance(gone, list):
            lost = [item for item in mine if _within(item, gone)]
            after[name] = [item for item in now if not _within(item, lost)]
            ours[name] = [item for item in mine if not _within(item, lost)]
        else:
            del ours[name]
            if same(now, mine):
                after.pop(name, None)
            continue
        if not after[name] and name not in before:
            del after[name]
        if not ours[name]:
            del ours[name]
    return after, ours


def _within(item: Any, items: list[Any]) -> bool:
    return any(same(item, other) for other in items)


def run(parameters: dict[str, Any], kept: Any, *, check: bool) -> dict[str, Any]:
    """Do what `parameters` say (see DOCUMENTATION), or tell it. `kept` is the `Record`. Raises `Refused`."""
    path = Path(parameters["path"]).resolve()
    text = path.read_text(encoding="utf-8") if path.exists() else None
    current = parsed(text, path)
    section = kept.section(SECTION)
    added = section.get("added", {})
    before = section["before"] if section else text
    if parameters["state"] == "present":
        after, ours = merged(current, parameters["settings"], added, path)
    else:
        taken = parameters["settings"] or added
        after, ours = without(current, taken, added, parsed(before, path))
    new = _text(after, current, text, before, path)
    outcome = {
        "changed": new != text or ours != added,
        "path": str(path),
        "added": ours,
        "diff": {
            "before": text or "",
            "after": new or "",
            "before_header": str(path),
            "after_header": str(path),
        },
    }
    if outcome["changed"] and not check:
        _write(path, new, text, kept, {"before": before, "added": ours} if ours else {})
    return outcome


def _text(
    after: dict[str, Any], current: dict[str, Any], text: str | None, before: str | None, path: Path
) -> str | None:
    """What the file shall hold, None where there shall be none."""
    if same(after, current):
        return text
    if same(after, parsed(before, path)):
        return before
    return json.dumps(after, indent=2) + "\n" if after else None


def _write(path: Path, new: str | None, text: str | None, kept: Any, section: dict[str, Any]) -> None:
    """Record first while something is added; forget last."""
    beside = path.with_name(path.name + BACKUP)
    if section:
        kept.keep(SECTION, section)
        if text is not None and not beside.exists():
            kept.replace(beside, text, mode=stat.S_IMODE(path.stat().st_mode))
    if new is None:
        path.unlink(missing_ok=True)
    elif new != text:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        kept.replace(path, new, mode=stat.S_IMODE(path.stat().st_mode) if text is not None else 0o644)
    if not section:
        kept.keep(SECTION, {})
        beside.unlink(missing_ok=True)


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415
    from ansible_collections.egress.appliance.plugins.module_utils.record import (  # noqa: PLC0415
        Record,
        RecordError,
    )

    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "settings": {"type": "dict", "default": {}},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        outcome = run(module.params, Record(module.params["record"]), check=module.check_mode)
    except (Refused, RecordError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

"""A host's state before and after, and what differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.provision.target import HOST

if TYPE_CHECKING:
    from tests.provision.target import Target

State = dict[str, dict[str, str]]


def taken(target: Target) -> State:
    """The state now (see `host/state.py`), with the kernel's rules as the machine's nft sees them."""
    script = (HOST / "state.py").read_text(encoding="utf-8")
    state: State = json.loads(target.run("python3", "-I", "-", stdin=script, within=120).out)
    rules = target.in_network("nft", "list", "ruleset").splitlines()
    state["rules"] = {f"{number:04} {line.strip()}": "" for number, line in enumerate(rules)}
    return state


def differences(before: State, after: State) -> list[str]:
    """One line each: what came, what went, what changed; empty when both are equal."""
    found = []
    for topic, was in before.items():
        now = after.get(topic, {})
        found += [f"{topic}: came: {name} {now[name]}".rstrip() for name in sorted(now.keys() - was.keys())]
        found += [f"{topic}: went: {name} {was[name]}".rstrip() for name in sorted(was.keys() - now.keys())]
        both = sorted(was.keys() & now.keys())
        found += [
            f"{topic}: {name}: {was[name]} became {now[name]}" for name in both if was[name] != now[name]
        ]
    return found

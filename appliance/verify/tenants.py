"""Tenants that one case needs for itself, made and removed with the operator's own command."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.verify.case import Output
from appliance.verify.world import World

PREFIX = "verify-"
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """Its name, which is that of its network too, and the document of its policy."""

    name: str
    file: Path

    def write(self, policy: str) -> None:
        """Put another document in the place of its own, as an editor does."""
        draft = self.file.with_name(f".{self.file.name}.draft")
        draft.write_text(policy, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(self.file)


@contextmanager
def tenant(world: World, policy: str) -> Iterator[Tenant]:
    """A tenant with `policy`, gone afterwards with all that was its own. Raises `OSError`."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="egress-verify-") as directory:
        document = Path(directory) / f"{name}.yaml"
        document.write_text(policy, encoding="utf-8")
        made = world.egress("--json", "tenant", "add", name, "--policy", str(document))
    if made.status != 0:
        raise OSError(f"no tenant could be added: {made.text.strip()}")
    file = Path(told(made)["policy"])
    try:
        reload(world)
        yield Tenant(name, file)
    finally:
        # `tenant rm` knows a tenant by its document, which a case may have removed, or replaced by anything.
        file.unlink(missing_ok=True)
        file.touch()
        world.egress("tenant", "rm", name, "--purge")


@contextmanager
def operator(beside: Tenant, text: str) -> Iterator[None]:
    """Another operator.yaml for a while; what was there before comes back, or one without rules."""
    file = beside.file.parent.parent / "operator.yaml"
    before = file.read_bytes() if file.exists() else None
    try:
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        yield
    finally:
        # Were it gone again, its last rules would stay in force.
        file.write_bytes(b"{}\n" if before is None else before)


def reload(world: World) -> Output:
    """Have every process read the policies now; the output says what it cannot read."""
    return world.egress("policy", "reload")


def told(answer: Output) -> dict[str, Any]:
    """The JSON document in what a command wrote, its notes left out. Raises `OSError` when there is none."""
    try:
        document: dict[str, Any] = json.loads(
            answer.text[answer.text.index("{") : answer.text.rindex("}") + 1]
        )
    except ValueError as error:
        raise OSError(f"no answer that can be read: {answer.text.strip()[:300]}") from error
    return document


def eventually(holds: Callable[[], bool], seconds: float = READ_SECONDS) -> bool:
    """Whether `holds` within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True

"""The lab with providers in it, and a tenant whose integration accounts hold their secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.verify.case import Output
from tests.lab import appliance, internet, policies
from tests.lab.accounts import Kept, canary, keep
from tests.lab.containers import build_images, run_hardened
from tests.lab.sdk_images import NODE, PYTHON, build_sdk_images
from tests.lab.world import LabWorld, stand

BOUND, UNBOUND = policies.READER, policies.LISTER
_INTERPRETERS = {
    ".py": (PYTHON, ("python3", "-c")),
    ".js": (NODE, ("node", "-e")),
    ".sh": (PYTHON, ("sh", "-c")),
}


@dataclass(frozen=True, slots=True)
class BoundWorld:
    """`accounts` by name; the secrets in them are the ones that providers want and the vault has."""

    world: LabWorld
    accounts: dict[str, Kept]

    def job(self, file: Path, *words: str, tenant: str = BOUND, **environment: str) -> Output:
        """A script in a hardened container with the SDKs, to its end; its suffix says whose."""
        image, command = _INTERPRETERS[file.suffix]
        options = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        return run_hardened(
            tenant,
            image.tag,
            (*command, file.read_text(), file.name, *words),
            "--memory",
            "768m",
            *options,
        )

    def script(self, text: str, *, tenant: str = BOUND) -> Output:
        """A script of Python's there."""
        return run_hardened(tenant, PYTHON.tag, ("python3", "-c", text))

    def secret(self, account: str) -> str:
        return self.accounts[account].secret


def further_accounts() -> tuple[Kept, ...]:
    """Beside those of the battery, with a fresh secret for each."""
    bucket = f", parameters: {{region: [{internet.REGION}], bucket: [{internet.BUCKET}]}}"
    return (
        Kept("thought", BOUND, "anthropic", (internet.ANTHROPIC,), canary()),
        Kept("money", BOUND, "stripe", (internet.STRIPE,), canary()),
        Kept("code", BOUND, "github", (internet.GITHUB, internet.GITHUB_GIT), canary()),
        Kept("talk", BOUND, "slack", (internet.SLACK,), canary()),
        Kept("objects", BOUND, "aws", (internet.S3, internet.S3_BUCKET), canary(), bucket),
    )


@contextmanager
def stand_bound() -> Iterator[BoundWorld]:
    """All of it; see `tests.lab.world.stand`."""
    build_images(lambda _line: None)
    build_sdk_images()
    with stand() as world:
        further = further_accounts()
        keep([*world.kept, *further], stored=world.kept)
        yield BoundWorld(world, {account.name: account for account in (*world.kept, *further)})


def records(process: str) -> list[dict[str, Any]]:
    """What processes whose names begin so wrote into the audit, in each one's order."""
    directory = appliance.DIRECTORIES["log_dir"] / "audit"
    return [
        json.loads(line)
        for file in sorted(directory.glob(f"{process}*/*.jsonl"))
        for line in file.read_text().splitlines()
        if line.endswith("}")
    ]

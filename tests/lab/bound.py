"""The lab with providers in it, and a tenant whose integration accounts hold their secrets."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.verify.case import Output
from tests.lab import appliance, internet, policies, providers
from tests.lab.containers import build_images, run_hardened
from tests.lab.internet import Site
from tests.lab.namespaces import LabError
from tests.lab.sdk_images import NODE, PYTHON, build_sdk_images
from tests.lab.world import LabWorld, stand

BOUND, UNBOUND = policies.READER, policies.LISTER
ACCOUNTS = f"""accounts:
  - {{name: chat, integration: openai, tenants: [{BOUND}]}}
  - {{name: thought, integration: anthropic, tenants: [{BOUND}]}}
  - {{name: money, integration: stripe, tenants: [{BOUND}]}}
  - {{name: code, integration: github, tenants: [{BOUND}]}}
  - {{name: talk, integration: slack, tenants: [{BOUND}]}}
  - name: objects
    integration: aws
    tenants: [{BOUND}]
    parameters: {{region: [{internet.REGION}], bucket: [{internet.BUCKET}]}}
  - {{name: mirror, integration: rest, tenants: [{BOUND}], host: {internet.REFLECTOR.name}}}
"""
_INTERPRETERS = {
    ".py": (PYTHON, ("python3", "-c")),
    ".js": (NODE, ("node", "-e")),
    ".sh": (PYTHON, ("sh", "-c")),
}
KEY_ID = "AKIALABLABLABLABLABL"


def canary() -> str:
    """A secret of no provider's shape, so that nothing but its being known can keep it back."""
    return f"Zr8-{secrets.token_hex(6)}/{secrets.token_urlsafe(12)}+q"


@dataclass(frozen=True, slots=True)
class Account:
    """Where its secret is wanted, and what it is."""

    integration: str
    sites: tuple[Site, ...]
    secret: str


@dataclass(frozen=True, slots=True)
class BoundWorld:
    """`accounts` by name; the secrets in them are the ones that providers want and the vault has."""

    world: LabWorld
    accounts: dict[str, Account]

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


def make_accounts() -> dict[str, Account]:
    """A fresh secret for each."""
    sites = {
        "chat": ("openai", (internet.OPENAI,)),
        "thought": ("anthropic", (internet.ANTHROPIC,)),
        "money": ("stripe", (internet.STRIPE,)),
        "code": ("github", (internet.GITHUB, internet.GITHUB_GIT)),
        "talk": ("slack", (internet.SLACK,)),
        "objects": ("aws", (internet.S3, internet.S3_BUCKET)),
        "mirror": ("rest", (internet.REFLECTOR,)),
    }
    return {name: Account(integration, of, canary()) for name, (integration, of) in sites.items()}


def _store(name: str, account: Account) -> None:
    words = ["secret", "set", name, "--tenant", BOUND, "--integration", account.integration]
    value = account.secret
    if account.integration == "aws":
        words += ["--kind", "aws"]
        value = json.dumps({"kind": "aws", "access_key_id": KEY_ID, "secret_access_key": account.secret})
    command = (str(appliance.COMMAND), "--settings", str(appliance.SETTINGS_FILE), *words)
    done = subprocess.run(
        command, input=value, capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise LabError(f"egress secret set {name}: {done.stdout}{done.stderr}")


@contextmanager
def stand_bound() -> Iterator[BoundWorld]:
    """All of it; see `tests.lab.world.stand`."""
    build_images(lambda _line: None)
    build_sdk_images()
    with stand() as world:
        accounts = make_accounts()
        providers.start({
            site: f"{KEY_ID}:{account.secret}" if account.integration == "aws" else account.secret
            for account in accounts.values()
            for site in account.sites
        })  # fmt: skip
        (appliance.DIRECTORIES["config_dir"] / "accounts.yaml").write_text(ACCOUNTS)
        appliance.egress("policy", "reload")
        for name, account in accounts.items():
            _store(name, account)
        yield BoundWorld(world, accounts)


def records(process: str) -> list[dict[str, Any]]:
    """What processes whose names begin so wrote into the audit, in each one's order."""
    directory = appliance.DIRECTORIES["log_dir"] / "audit"
    return [
        json.loads(line)
        for file in sorted(directory.glob(f"{process}*/*.jsonl"))
        for line in file.read_text().splitlines()
        if line.endswith("}")
    ]

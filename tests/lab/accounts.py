"""Integration accounts in the lab: secrets that only the vault and the lab's providers know."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab import appliance, internet, policies, providers
from tests.lab.internet import Site
from tests.lab.namespaces import LabError

KEY_ID = "AKIALABLABLABLABLABL"


@dataclass(frozen=True, slots=True)
class Kept:
    """An account: what its document says of it beside name and tenant, where its secret is wanted, and what it is."""

    name: str
    tenant: str
    integration: str
    sites: tuple[Site, ...]
    secret: str
    further: str = ""

    @property
    def line(self) -> str:
        """Its line in accounts.yaml."""
        return f"  - {{name: {self.name}, integration: {self.integration}, tenants: [{self.tenant}]{self.further}}}\n"

    @property
    def wanted(self) -> str:
        """What its provider knows it by."""
        return f"{KEY_ID}:{self.secret}" if self.integration == "aws" else self.secret


def canary() -> str:
    """A secret of no provider's shape, so that nothing but its being known can keep it back."""
    return f"Zr8-{secrets.token_hex(6)}/{secrets.token_urlsafe(12)}+q"


def of_battery() -> tuple[Kept, Kept, Kept]:
    """With fresh secrets: two accounts of the reader, OpenAI's and a REST interface, and one of the lister."""
    return (
        Kept("mirror", policies.READER, "rest", (internet.REFLECTOR,), canary(), f", host: {internet.REFLECTOR.name}"),
        Kept("chat", policies.READER, "openai", (internet.OPENAI,), canary()),
        Kept("theirs", policies.LISTER, "rest", (internet.REFLECTOR_2,), canary(), f", host: {internet.REFLECTOR_2.name}"),
    )  # fmt: skip


def keep(accounts: Sequence[Kept], stored: Sequence[Kept] = ()) -> None:
    """Providers up, accounts in force, secrets in the vault but for those `stored` already. Raises `LabError`."""
    providers.start({site: account.wanted for account in accounts for site in account.sites})
    document = appliance.DIRECTORIES["config_dir"] / "accounts.yaml"
    document.write_text("accounts:\n" + "".join(account.line for account in accounts))
    appliance.egress("policy", "reload")
    for account in accounts:
        if account not in stored:
            _store(account)


def _store(account: Kept) -> None:
    words = ["secret", "set", account.name, "--tenant", account.tenant, "--integration", account.integration]
    value = account.secret
    if account.integration == "aws":
        words += ["--kind", "aws"]
        value = json.dumps({"kind": "aws", "access_key_id": KEY_ID, "secret_access_key": account.secret})
    command = (str(appliance.COMMAND), "--settings", str(appliance.SETTINGS_FILE), *words)
    done = subprocess.run(
        command, input=value, capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise LabError(f"egress secret set {account.name}: {done.stdout}{done.stderr}")

"""`egress handle list`: which containers hold handles for secrets."""

from __future__ import annotations

from dataclasses import replace

import click

from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, harmless, pass_cli
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process

BROKER = "broker"


@click.group()
def handle() -> None:
    """Handles: what containers hold in the place of a secret, for 300 seconds at most."""


@handle.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@pass_cli
def list_(cli: Cli, *, as_json: bool) -> None:
    """List how many handles live for which container and account, never the handles."""
    require_root("egress handle list")
    answer = ask_process(cli.settings, BROKER, {"op": "handle-list"})
    if not answer.get("ok"):
        known = answer.get("error") == NOT_RUNNING
        raise Failure(f"{BROKER}: {DOWN}" if known else f"{answer.get('error')}: {answer.get('detail')}")
    found = harmless(answer["handles"])
    if as_json or cli.as_json:
        replace(cli, as_json=True).emit(found)
        return
    cli.table(
        ("TENANT", "ENDPOINT", "ACCOUNT", "LIVE", "OLDEST"),
        [
            (h["tenant"], h["endpoint"], h["account"], str(h["live"]), f"{h['oldest_seconds']:.0f} s")
            for h in found
        ],
    )

"""`egress caller`: API keys of callers that are no containers, and who was ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.ipc import Message

BROKER = "broker"
_DAY = 86400


@click.group()
def caller() -> None:
    """Callers that are no containers: processes of this host, with a key of their own."""


_tenant = click.option(
    "--tenant", required=True, shell_complete=tenant_names, help="For whose accounts it calls."
)
_of_tenant = click.option("--tenant", shell_complete=tenant_names, help="Only this tenant's.")


@caller.command()
@click.argument("name")
@_tenant
@click.option("--scope", "scopes", multiple=True, help="What it may, e.g. openai:write; may be repeated.")
@click.option("--expires", "days", type=click.IntRange(1, 3650), help="Days until the key ends by itself.")
@pass_cli
def add(cli: Cli, name: str, tenant: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a key for NAME and print it, this once."""
    wish = {"tenant": tenant, "actor": name, "scopes": list(scopes), "seconds": days and days * _DAY}
    _shown(cli, _ask(cli, "caller-add", wish))
    if not scopes:
        click.echo("it has no scope: no call is allowed with it", err=True)


@caller.command()
@click.argument("name")
@_tenant
@pass_cli
def rotate(cli: Cli, name: str, tenant: str) -> None:
    """Make another key for NAME, with the same scopes and life; the older one serves until it is revoked."""
    answer = _ask(cli, "caller-rotate", {"tenant": tenant, "actor": name})
    _shown(cli, answer)
    click.echo(f"when nobody uses the older one any more: egress caller revoke {answer['older']}", err=True)


@caller.command()
@click.argument("key")
@pass_cli
def revoke(cli: Cli, key: str) -> None:
    """End the key with the id KEY at once, with the calls it has under way."""
    answer = _ask(cli, "caller-revoke", {"id": key})
    said = "revoked" if answer["was_active"] else "was revoked already"
    cli.emit(answer) if cli.as_json else cli.say(f"{key}: {said}")


@caller.command("list")
@_of_tenant
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@pass_cli
def list_(cli: Cli, tenant: str | None, *, as_json: bool) -> None:
    """List keys, never what they prove, and callers that were ended after a collision."""
    found = _ask(cli, "caller-list", {"tenant": tenant})
    if as_json or cli.as_json:
        replace(cli, as_json=True).emit(found)
        return
    cli.table(("KEY", "TENANT", "NAME", "SCOPES", "STATE", "EXPIRES"), [_row(key) for key in found["keys"]])
    for ended in found["ended"]:
        cli.say(f"ended: {ended['principal']} of tenant {ended['tenant']}")


@caller.command()
@click.argument("principal")
@_tenant
@pass_cli
def readmit(cli: Cli, principal: str, tenant: str) -> None:
    """Take PRINCIPAL back (as in the records: jwt:alice), who was ended after a collision."""
    answer = _ask(cli, "caller-readmit", {"tenant": tenant, "principal": principal})
    said = "taken back" if answer["was_ended"] else "was not ended"
    cli.emit(answer) if cli.as_json else cli.say(f"{principal} of tenant {tenant}: {said}")


def _shown(cli: Cli, answer: Message) -> None:
    """The key alone on standard output, so that a pipe takes it."""
    if cli.as_json:
        cli.emit(answer)
        return
    click.echo(answer["key"])
    click.echo(f"key {answer['id']}: shown this once", err=True)


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    scopes, expires = " ".join(key["scopes"]), _date(key["expires_at"])
    return key["id"], key["tenant"], key["actor"], scopes, _state(key), expires


def _state(key: dict[str, Any]) -> str:
    if key["active"]:
        return "active"
    return "expired" if key["revoked_at"] is None else "revoked"


def _date(seconds: int | None) -> str:
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _ask(cli: Cli, operation: str, wish: Message) -> Message:
    require_root("egress caller")
    answer = ask_process(cli.settings, BROKER, {"op": operation, **wish})
    if answer.get("ok"):
        return {key: value for key, value in answer.items() if key != "ok"}
    known = answer.get("error") == NOT_RUNNING
    raise Failure(f"{BROKER}: {DOWN}" if known else f"{answer.get('error')}: {answer.get('detail')}")

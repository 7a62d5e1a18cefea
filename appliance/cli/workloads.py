"""`egress workload disable|enable`: whether a container's certificate counts at the broker."""

from __future__ import annotations

import click

from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.ipc import Message

BROKER = "broker"


@click.group()
def workload() -> None:
    """Certificates of containers: who may speak with the broker. The container itself runs on."""


_tenant = click.option("--tenant", required=True, shell_complete=tenant_names, help="Whose container it is.")


@workload.command()
@click.argument("container")
@_tenant
@pass_cli
def disable(cli: Cli, container: str, tenant: str) -> None:
    """Refuse CONTAINER (its whole id) at the broker from now on; its sessions and handles end."""
    answer = _ask(cli, "workload-disable", tenant, container)
    cli.emit(answer) if cli.as_json else cli.say(f"{container} of tenant {tenant}: disabled")


@workload.command()
@click.argument("container")
@_tenant
@pass_cli
def enable(cli: Cli, container: str, tenant: str) -> None:
    """Take CONTAINER back; it opens new sessions."""
    answer = _ask(cli, "workload-enable", tenant, container)
    said = "enabled" if answer["was_disabled"] else "was not disabled"
    cli.emit(answer) if cli.as_json else cli.say(f"{container} of tenant {tenant}: {said}")


def _ask(cli: Cli, operation: str, tenant: str, container: str) -> Message:
    require_root("egress workload")
    answer = ask_process(cli.settings, BROKER, {"op": operation, "tenant": tenant, "workload": container})
    if answer.get("ok"):
        return {key: value for key, value in answer.items() if key != "ok"}
    known = answer.get("error") == NOT_RUNNING
    raise Failure(f"{BROKER}: {DOWN}" if known else f"{answer.get('error')}: {answer.get('detail')}")

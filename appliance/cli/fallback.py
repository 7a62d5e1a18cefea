"""`egress fallback`: who decides when Squid serves in the gateway's place."""

from __future__ import annotations

import click

from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.processes import SQUID


@click.command()
@click.argument("mode", type=click.Choice(["on", "off", "auto"]))
@pass_cli
def fallback(cli: Cli, mode: str) -> None:
    """Let the fallback serve everybody (on), nobody (off), or whom the gateway cannot (auto, the default).

    It lasts until the next such command or until the machine starts anew, and is on record. With `on`,
    containers have a stricter proxy at the address that their proxy variables name, and nothing else.

    For example: egress fallback on
    """
    require_root("egress fallback")
    if not cli.settings.has_fallback:
        raise Failure(
            "this instance has no fallback; remove `fallback: false` and `uplink.proxy` from its settings, "
            "then: egress down && egress up"
        )
    answer = ask_process(cli.settings, "netd", {"op": "fallback", "mode": mode})
    if answer.get("error") == NOT_RUNNING:
        raise Failure(f"netd is {DOWN}")
    if not answer.get("ok"):
        raise Failure(f"the fallback stays as it was: {answer.get('detail') or answer.get('error')}")
    if cli.as_json:
        cli.emit({key: value for key, value in answer.items() if key != "ok"})
    else:
        cli.say(f"fallback: {answer['fallback']}")
    if mode == "on" and not answer.get("fallback_ready"):
        raise Failure(f"{SQUID} does not serve, so nothing passes now; see: egress status")

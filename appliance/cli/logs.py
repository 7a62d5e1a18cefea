"""`egress log`: the audit records of all processes, merged by time."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from appliance.audit import place
from appliance.audit.read import Selection, follow, records
from appliance.audit.record import Kind
from appliance.audit.verify import verify
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure
from appliance.cli.moments import as_moment
from appliance.cli.output import Cli, pass_cli, printable
from appliance.cli.tenant_files import existing

if TYPE_CHECKING:
    from collections.abc import Iterable

# Which field says what was asked for, and of what; an admission's container may have no name, only an image.
_VERBS = ("method", "type", "event", "operation", "kind")
_TARGETS = ("host", "name", "destination", "subject", "container", "image")
COLOURS = {"allowed": "green", "denied": "red", "failed": "yellow"}


@click.command()
@click.option("-f", "--follow", "following", is_flag=True, help="Go on as records are written.")
@click.option("--tenant", metavar="NAME", shell_complete=tenant_names, help="Only this tenant's.")
@click.option("--denied", is_flag=True, help="Only what was refused or failed.")
@click.option("--run", "run_id", metavar="ID", help="Only one run's (the id that egress run printed).")
@click.option("--container", metavar="ID", help="Only one container's: its id, or how that begins.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([kind.value for kind in Kind]),
    multiple=True,
    help="Only records of this kind; may be given more than once.",
)
@click.option(
    "--since",
    metavar="WHEN",
    callback=as_moment,
    help="From a time on: 10m, 2h, 1d ago, or 2026-11-21T16:00:00Z (RFC 3339).",
)
@click.option("--until", metavar="WHEN", callback=as_moment, help="Up to a time, written like --since.")
@click.option("-n", "--lines", type=click.IntRange(1), help="Only the last N.")
@click.option("--verify", "verifying", is_flag=True, help="Check the hash chains instead of printing.")
@pass_cli
def log(
    cli: Cli,
    following: bool,
    tenant: str | None,
    denied: bool,
    run_id: str | None,
    container: str | None,
    kinds: tuple[str, ...],
    since: str | None,
    until: str | None,
    lines: int | None,
    verifying: bool,
) -> None:
    """Show what was decided, oldest first: one line a record; with --json one JSON object a line.

    For example: egress log -f --tenant acme --denied, or: egress log --kind dns --since 10m
    """
    if following and until is not None:
        raise click.UsageError("-f goes on without end, --until does not; leave one of them away")
    if since is not None and until is not None and since > until:
        raise click.UsageError("--until is before --since; exchange them")
    folder = cli.settings.audit_dir
    if not folder.is_dir():
        raise Failure(f"no audit records in {folder}; was the appliance started? (egress up)")
    if verifying:
        _verify(cli)
        return
    wanted = Selection(tenant, run_id, container, denied, frozenset(map(Kind, kinds)), since, until)
    try:
        printed = 0
        if lines is not None or since is not None or not following:
            printed = _print(cli, _last(records(folder, wanted), lines))
        if tenant is not None and not printed:
            existing(cli.settings, tenant)  # one that was removed still has its records
        if following:
            _print(cli, follow(folder, wanted))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _last(found: Iterable[dict[str, Any]], lines: int | None) -> Iterable[dict[str, Any]]:
    return found if lines is None else deque(found, maxlen=lines)


def _print(cli: Cli, found: Iterable[dict[str, Any]]) -> int:
    """Print records as they come; how many they were."""
    printed = 0
    for record in found:
        printed += 1
        if cli.as_json:
            click.echo(json.dumps(record, separators=(",", ":")))
        else:
            click.echo(line(record))
    return printed


def line(record: dict[str, Any]) -> str:
    """One record for a person: time, outcome, tenant, what was asked, why."""
    ended = str(record.get("outcome", ""))
    outcome = click.style(f"{printable(ended):7}", fg=COLOURS.get(ended))
    target = next((record[name] for name in _TARGETS if record.get(name)), "")
    what = next((record[name] for name in _VERBS if record.get(name)), "")
    port = f":{record['port']}" if record.get("port") not in (None, 80, 443) else ""
    scheme = f"{record['scheme']}://" if record.get("scheme") else ""
    words = [
        str(record.get("time", ""))[:23].replace("T", " "),
        outcome,
        f"{record.get('tenant') or '-':12}",
        f"{what} {scheme}{target}{port}{record.get('path') or ''}",
        str(record.get("status") or ""),
        f"{record['count']} times" if record.get("count") not in (None, 1) else "",
        f"{record.get('reason') or ''}" + (f" [{record['rule']}]" if record.get("rule") else ""),
        # What admission refuses is no request: only its sentence says which flag is missing.
        str(record.get("detail") or "") if record.get("kind") == Kind.ADMISSION else "",
    ]
    return "  ".join(word if word is outcome else printable(word) for word in words if word)


def _verify(cli: Cli) -> None:
    folder = cli.settings.audit_dir
    reports = {process: verify(place.chain_files(folder, process)) for process in place.writers(folder)}
    if cli.as_json:
        cli.emit(
            {
                process: {
                    "intact": report.intact,
                    "records": report.records,
                    "first": report.first,
                    "head": report.head.digest,
                    "broken": str(report.broken) if report.broken else None,
                    "cut_short": [str(place_) for place_ in report.marked],
                }
                for process, report in reports.items()
            }
        )
    else:
        for process, report in reports.items():
            verdict = "intact" if report.intact else f"BROKEN at {report.broken}"
            cli.say(f"{process}: {report.records} records, {verdict}")
    if not all(report.intact for report in reports.values()):
        raise SystemExit(1)

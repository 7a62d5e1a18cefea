"""`egress top`: who uses what of the gateway now."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from appliance import ipc
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure
from appliance.cli.filling import Filled, filled
from appliance.cli.output import Cli, pass_cli, printable
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.cli.tenant_files import existing
from appliance.processes import processes
from appliance.settings import Settings

COLUMNS = (
    "TENANT", "CONTAINER", "REQ/S", "CONN", "REQUESTS", "DENIED", "THROTTLED", "OUT", "IN", "SIGNALS",
    "NEAREST LIMIT",
)  # fmt: skip
LIMIT_COLUMNS = ("TENANT", "SCOPE", "OF", "LIMIT", "USED", "BOUND", "%")
_NEAR = 80  # percent from which a limit is shown in colour
_MEBIBYTE = 2**20


@dataclass(slots=True)
class Use:
    """What somebody has had: `rate` is requests in the last second, `connections` are open, the rest sums."""

    rate: int = 0
    connections: int = 0
    requests: int = 0
    denied: int = 0
    throttled: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    signals: int = 0

    def add(self, row: ipc.Message) -> None:
        """Count what one worker says."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + int(row.get(name, 0)))


@dataclass(slots=True)
class TenantUse:
    """A tenant, with its containers by the name that a person knows them by."""

    whole: Use = field(default_factory=Use)
    containers: dict[str, Use] = field(default_factory=dict)
    limits: list[Filled] = field(default_factory=list)


def merged(answers: Iterable[ipc.Message]) -> dict[str, TenantUse]:
    """What all workers say, by tenant, busiest first. Containers that left count for their tenant alone."""
    found: dict[str, TenantUse] = {}
    for answer in answers:
        for row in answer.get("endpoints", ()):
            tenant = found.setdefault(str(row["tenant"]), TenantUse())
            tenant.whole.add(row)
            name = row.get("name") or str(row.get("container") or row["id"])[:12]
            tenant.containers.setdefault(str(name), Use()).add(row)
        for row in answer.get("departed", ()):
            found.setdefault(str(row["tenant"]), TenantUse()).whole.add(row)
    for tenant in found.values():
        tenant.containers = dict(sorted(tenant.containers.items(), key=lambda item: _busy(item[1])))
    return dict(sorted(found.items(), key=lambda item: _busy(item[1].whole)))


def _busy(use: Use) -> tuple[int, ...]:
    return (-use.rate, -use.connections, -use.requests)


@click.command()
@click.option("--once", is_flag=True, help="Print one view and end.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between views.",
)
@click.option("--tenant", metavar="NAME", shell_complete=tenant_names, help="Only this tenant's.")
@click.option(
    "--limits", is_flag=True, help="Also every limit of which something is used, the fullest first."
)
@pass_cli
def top(cli: Cli, once: bool, interval: float, tenant: str | None, limits: bool) -> None:
    """Show requests, connections and bytes of each tenant and container, the busiest first.

    With a tenant stands the limit that it is nearest to: its own, one of its containers' or one at a host.
    With --json one JSON object a view, on one line unless --once.
    """
    if tenant is not None:
        existing(cli.settings, tenant)
    while True:
        seen, silent = look(cli.settings)
        if tenant is not None:
            seen = {name: use for name, use in seen.items() if name == tenant}
        _show(cli, seen, silent, live=not once, limits=limits)
        if once:
            break
        time.sleep(interval)
    if silent:
        raise SystemExit(3)


def look(settings: Settings) -> tuple[dict[str, TenantUse], list[str]]:
    """What the workers say now, and which of them said nothing. Raises `Failure` when none answers."""
    names = [process.name for process in processes(settings) if process.name.startswith("gateway-")]
    answers = {name: ask_process(settings, name, {"op": "usage"}) for name in names}
    silent = [
        f"{name}: {a.get('detail') or a.get('error')}" for name, a in answers.items() if not a.get("ok")
    ]
    if len(silent) == len(names):
        down = all(answer.get("error") == NOT_RUNNING for answer in answers.values())
        raise Failure(f"instance {settings.instance!r}: {DOWN}" if down else "\n".join(silent))
    heard = [answer for answer in answers.values() if answer.get("ok")]
    names_of = ask_process(settings, "resolver", {"op": "status"})
    if not names_of.get("ok"):
        silent.append(f"resolver: {names_of.get('detail') or names_of.get('error')}")
    seen = merged(heard)
    for tenant, found in filled(heard, names_of.get("asking", {})).items():
        seen.setdefault(tenant, TenantUse()).limits = found
    return seen, silent


def _show(cli: Cli, seen: dict[str, TenantUse], silent: list[str], *, live: bool, limits: bool) -> None:
    if cli.as_json:
        document = {
            "time": time.time(),
            "tenants": {
                name: {**asdict(t.whole), "containers": _plain(t), "limits": [asdict(x) for x in t.limits]}
                for name, t in seen.items()
            },
            "silent": silent,
        }
        if live:
            click.echo(json.dumps(document))
            sys.stdout.flush()
        else:
            cli.emit(document)
        return
    if live:
        click.clear()
    cli.table(COLUMNS, list(rows(seen)))
    if limits:
        click.echo()
        cli.table(LIMIT_COLUMNS, list(limit_rows(seen)))
    for line in silent:
        cli.say(f"incomplete: {line}")


def _plain(tenant: TenantUse) -> dict[str, Any]:
    return {name: asdict(use) for name, use in tenant.containers.items()}


def rows(seen: dict[str, TenantUse]) -> Iterable[tuple[str, ...]]:
    """A line for each tenant, and below it one for each of its containers."""
    for name, tenant in seen.items():
        yield (click.style(printable(name), bold=True), "", *_cells(tenant.whole), _nearest(tenant.limits))
        for container, use in tenant.containers.items():
            yield ("", printable(container), *_cells(use), "")


def limit_rows(seen: dict[str, TenantUse]) -> Iterable[tuple[str, ...]]:
    """A line for each limit of which something is used."""
    for name, tenant in seen.items():
        for limit in tenant.limits:
            if limit.used:
                shown = _size if limit.measure.startswith("bytes") else str
                amounts = (shown(limit.used), shown(limit.limit))
                of = printable(limit.name)
                yield (printable(name), limit.scope, of, limit.measure, *amounts, _coloured(limit.percent))


def _nearest(limits: list[Filled]) -> str:
    """The fullest limit in a few words, nothing where none is used to a percent."""
    if not limits or not limits[0].percent:
        return ""
    words = printable(str(limits[0]))
    return click.style(words, fg="yellow") if limits[0].percent >= _NEAR else words


def _coloured(percent: int) -> str:
    return click.style(str(percent), fg="yellow") if percent >= _NEAR else str(percent)


def _cells(use: Use) -> tuple[str, ...]:
    throttled = click.style(str(use.throttled), fg="yellow") if use.throttled else "0"
    numbers = (use.rate, use.connections, use.requests, use.denied)
    sizes = (_size(use.bytes_out), _size(use.bytes_in))
    return (*map(str, numbers), throttled, *sizes, str(use.signals))


def _size(count: int) -> str:
    """Short for people: bytes below 1 KiB, whole KiB below 10 MiB, whole MiB above."""
    if count < 1024:
        return f"{count}B"
    return f"{count // 1024}KiB" if count < 10 * _MEBIBYTE else f"{count // _MEBIBYTE}MiB"

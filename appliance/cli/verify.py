"""`egress verify`: every attack that we know of, tried on this host, with a live canary behind each.

Without `--tenant` it is a trial, which never touches the instance that serves: it brings up one of its own
beside it, with the installed program, this kernel and this Docker engine; its uplink ends in a closed
Internet of namespaces on this host. With it the serving instance is tried, by the rows that take nothing from
anybody.
"""

from __future__ import annotations

import importlib
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

import appliance
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli, printable
from appliance.cli.verify_live import LivePlace
from appliance.verify import battery, report
from appliance.verify.case import Case, Layer, Result
from appliance.verify.live import selection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from appliance.verify.world import World

WIDTHS = (6, 28, 7, 60, 20, 7)
OUTPUT_SHOWN = 3000
PLACE = "tests.lab.world"


class Place(Protocol):
    """Where worlds come from."""

    def plan(self) -> World:
        """A world of which rows can be made, and nothing else."""
        ...

    def stand(self) -> AbstractContextManager[World]:
        """A world that is up; gone without a trace afterwards."""
        ...

    def choose(self, cases: Sequence[Case]) -> list[Case]:
        """Those of the table's rows that can be tried in its worlds, as they are there."""
        ...

    def logs(self) -> str:
        """The end of what the world's processes wrote."""
        ...


class Trial:
    """The closed Internet and an instance of our own, which come with the source tree, not the package."""

    def __init__(self, module: Any) -> None:
        """`module` has the functions `plan`, `stand` and `logs`."""
        self.plan, self.stand, self.logs = module.plan, module.stand, module.logs

    def choose(self, cases: Sequence[Case]) -> list[Case]:
        """All of them."""
        return list(cases)


@click.command()
@click.option(
    "--tenant",
    metavar="NAME",
    shell_complete=tenant_names,
    help="Try the instance that serves, from this tenant's network, and not one brought up for it.",
)
@click.option(
    "--canary",
    "canaries",
    multiple=True,
    metavar="ADDRESS",
    help="With --tenant: where our canaries stand, addresses that nobody uses. May be repeated.",
)
@click.option(
    "--case",
    "wanted",
    multiple=True,
    metavar="ID",
    help="Only these: A (a section), A4 (an attack), A4-public (a case). May be repeated.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    type=click.Choice([layer.value for layer in Layer]),
    help="Only at this layer. May be repeated.",
)
@click.option("--list", "listing", is_flag=True, help="Say which cases there are, and try none.")
@click.option("--output", is_flag=True, help="Show what each stimulus wrote, not only where a case failed.")
@pass_cli
def verify(
    cli: Cli,
    tenant: str | None,
    canaries: tuple[str, ...],
    wanted: tuple[str, ...],
    layers: tuple[str, ...],
    listing: bool,
    output: bool,
) -> None:
    """Try every known attack from real hardened containers, and see that it fails.

    Without --tenant this is a trial: an instance of its own is brought up for it, beside the one that serves,
    whose tenants notice nothing. With --tenant the instance that serves is tried, from a container of that
    tenant, by the cases that stop and change nothing; the others need the trial.
    Exit code 0 when every case held; a case that could not run did not hold.

    For example: egress verify --tenant acme
    """
    if canaries and tenant is None:
        raise Failure("--canary goes with --tenant; the trial has an Internet of its own", exit_code=2)
    if tenant is not None:
        require_root("egress verify --tenant")
    place = _place() if tenant is None else LivePlace(cli.settings, tenant, canaries, cli.say)
    chosen = [layer for layer in Layer if not layers or layer.value in layers]
    table = battery.gather(place.plan())
    cases = select(place.choose(table), wanted, table)
    if not any(layer in case.layers for case in cases for layer in chosen):
        raise Failure(
            f"nothing of that can be tried at the layer {' or '.join(layers)} here{_MEND}", exit_code=2
        )
    if listing:
        _list(cli, cases)
        return
    require_root("egress verify")
    signal.signal(signal.SIGTERM, _interrupted)
    results = _run(cli, place, {case.id for case in cases}, chosen, output=output)
    said = "" if tenant is None else share(len(results), table)
    if cli.as_json:
        document = report.document(results)
        cli.emit(
            document if tenant is None else {**document, "tenant": tenant, "table": selection.tried(table)}
        )
    else:
        click.echo("\n".join(filter(None, (report.by_layer(results), said, report.closing(results)))))
    if not report.all_held(results):
        raise SystemExit(1)


_MEND = "; a trial tries it, from a checkout: egress verify"


def share(count: int, table: Sequence[Case]) -> str:
    """How much of the table was tried on the instance that serves."""
    every = selection.tried(table)
    return (
        f"tried on the instance that serves: {count} of the table's {every}; the other {every - count} would "
        "stop or change something, or need servers of ours: for all of them, from a checkout: egress verify"
    )


def select(cases: Sequence[Case], wanted: tuple[str, ...], table: Sequence[Case] = ()) -> list[Case]:
    """The cases that `wanted` names, all when it names none; `table`: those that there are besides.

    Raises `Failure` for a word that means none.
    """
    for word in wanted:
        if not any(battery.matches(case, word) for case in cases):
            if any(battery.matches(case, word) for case in table):
                raise Failure(f"{word} cannot be tried on the instance that serves{_MEND}", exit_code=2)
            raise Failure(f"no case {word!r}; see them all with: egress verify --list", exit_code=2)
    return [case for case in cases if not wanted or any(battery.matches(case, word) for word in wanted)]


def line(result: Result) -> str:
    """One row of the matrix."""
    cells = ("ok" if result.held else "FAILED", *report.row(result))
    verdict, name, layer, title, expected, seen, seconds = cells
    start = (verdict, name, layer, title, expected, seconds)
    told = "  ".join(f"{printable(cell):{width}}" for cell, width in zip(start, WIDTHS, strict=True)).rstrip()
    return told if result.held else f"{told}\n        {printable(seen)}"


def _run(cli: Cli, place: Place, chosen: set[str], layers: list[Layer], *, output: bool) -> list[Result]:
    results: list[Result] = []
    try:
        with place.stand() as world:
            here = place.choose(battery.gather(world))
            for result in battery.run([case for case in here if case.id in chosen], layers, world):
                results.append(result)
                if not cli.as_json:
                    _show(result, output=output)
            if not cli.as_json and not report.all_held(results):
                click.echo(place.logs(), err=True)
    except RuntimeError as error:
        raise Failure(f"the battery: {error}") from error
    return results


def _show(result: Result, *, output: bool) -> None:
    click.echo(line(result))
    if result.output and (output or not result.held):
        for text in result.output.text[-OUTPUT_SHOWN:].splitlines():
            click.echo(f"        | {printable(text)}")


def _list(cli: Cli, cases: Sequence[Case]) -> None:
    if cli.as_json:
        cli.emit([{"id": c.id, "attack": c.attack, "title": c.title, "layers": _layers(c)} for c in cases])
    else:
        rows = [(c.id, ",".join(_layers(c)), c.title) for c in cases]
        cli.table(("CASE", "LAYERS", "STIMULUS"), rows)


def _layers(case: Case) -> list[str]:
    return [layer.value for layer in Layer if layer in case.layers]


def _place() -> Place:
    """The closed Internet comes with the source tree, not with the package."""
    root = Path(appliance.__file__).resolve().parents[1]
    if not (root / "tests" / "lab" / "world.py").is_file():
        raise Failure(
            "the trial's closed Internet comes with the source tree: run it from a checkout, "
            "or try the instance that serves: egress verify --tenant NAME"
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return Trial(importlib.import_module(PLACE))


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)

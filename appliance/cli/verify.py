"""`egress verify`: every attack that we know of, tried on this host, with a live canary behind each.

The battery never touches the instance that serves: it brings up one of its own beside it, with the installed
program, this kernel and this Docker engine; its uplink ends in a closed Internet of namespaces on this host.
"""

from __future__ import annotations

import importlib
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import click

import appliance
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli, printable
from appliance.verify import battery, report
from appliance.verify.case import Case, Layer, Result

if TYPE_CHECKING:
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

    def logs(self) -> str:
        """The end of what the world's processes wrote."""
        ...


@click.command()
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
def verify(cli: Cli, wanted: tuple[str, ...], layers: tuple[str, ...], listing: bool, output: bool) -> None:
    """Try every known attack from real hardened containers, and see that it fails.

    An instance of its own is brought up for it, beside the one that serves, whose tenants notice nothing.
    Exit code 0 when every case held; a case that could not run did not hold.

    For example: egress verify --case A --layer kernel
    """
    place = _place()
    cases = select(battery.gather(place.plan()), wanted)
    chosen = [layer for layer in Layer if not layers or layer.value in layers]
    if listing:
        _list(cli, cases)
        return
    require_root("egress verify")
    signal.signal(signal.SIGTERM, _interrupted)
    results = _run(cli, place, {case.id for case in cases}, chosen, output=output)
    if cli.as_json:
        cli.emit(report.document(results))
    else:
        click.echo(report.by_layer(results))
        click.echo(report.closing(results))
    if not report.all_held(results):
        raise SystemExit(1)


def select(cases: list[Case], wanted: tuple[str, ...]) -> list[Case]:
    """The cases that `wanted` names, all when it names none. Raises `Failure` for a word that means none."""
    for word in wanted:
        if not any(battery.matches(case, word) for case in cases):
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
            for result in battery.run(
                [case for case in battery.gather(world) if case.id in chosen], layers, world
            ):
                results.append(result)
                if not cli.as_json:
                    _show(result, output=output)
            if not cli.as_json and not report.all_held(results):
                click.echo(place.logs(), err=True)
    except RuntimeError as error:
        raise Failure(f"the battery's own instance: {error}") from error
    return results


def _show(result: Result, *, output: bool) -> None:
    click.echo(line(result))
    if result.output and (output or not result.held):
        for text in result.output.text[-OUTPUT_SHOWN:].splitlines():
            click.echo(f"        | {printable(text)}")


def _list(cli: Cli, cases: list[Case]) -> None:
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
        raise Failure("the battery's closed Internet comes with the source tree; run it from a checkout")
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return cast("Place", importlib.import_module(PLACE))


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)

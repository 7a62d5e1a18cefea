"""`python -m tests.escape [--case ID]… [--layer LAYER]…`: cases of the battery in the lab, which is put up for it.

Everything is taken down again, also when it is interrupted. Exit status 0 when all cases held.
"""

from __future__ import annotations

import argparse
import json
import sys

from appliance.verify import battery, report
from appliance.verify.case import Case, Image, Layer, Result
from tests.lab.appliance import failure_logs
from tests.lab.containers import IMAGES, build_images, build_static_client
from tests.lab.world import LabWorld, lab_world, say

SHOWN = 4000


def selected(world: LabWorld, wanted: list[str]) -> list[Case]:
    """The cases that are wanted; all when none is named."""
    cases = battery.gather(world)
    unknown = [w for w in wanted if not any(battery.matches(case, w) for case in cases)]
    if unknown:
        raise SystemExit(f"verify: no case {', '.join(unknown)}")
    return [case for case in cases if not wanted or any(battery.matches(case, w) for w in wanted)]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.escape", description=__doc__)
    parser.add_argument("--case", action="append", default=[], help="A (section), A4 (attack), A4-ssh (id)")
    parser.add_argument("--layer", action="append", default=[], choices=[layer.value for layer in Layer])
    parser.add_argument("--list", action="store_true", help="print the cases and do nothing")
    parser.add_argument("--output", action="store_true", help="print what every stimulus wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    options = parser.parse_args()
    layers = [layer for layer in Layer if not options.layer or layer.value in options.layer]
    world = LabWorld()
    cases = selected(world, options.case)
    if options.list:
        for case in cases:
            say(f"{case.id:32} {','.join(sorted(case.layers)):22} {case.title}")
        return 0
    build_images(lambda _line: None)
    build_static_client(IMAGES[Image.STATIC], IMAGES[Image.PYTHON])
    results: list[Result] = []
    with lab_world() as world:
        chosen = {case.id for case in cases}
        cases = [case for case in battery.gather(world) if case.id in chosen]
        for result in battery.run(cases, layers, world):
            results.append(result)
            show(result, output=options.output)
        if not report.all_held(results):
            say(failure_logs())
    if options.json:
        say(json.dumps(report.document(results), indent=2))
    say(report.by_layer(results))
    say(report.closing(results))
    return 0 if report.all_held(results) else 1


def show(result: Result, *, output: bool) -> None:
    """One result; what the stimulus wrote when it is asked for, or when the case did not hold."""
    name, layer, title, _expected, seen, seconds = report.row(result)
    say(f"{'ok    ' if result.held else 'FAILED'} {seconds:>7} {layer:7} {name:32} {title} | {seen}")
    if result.output and (output or not result.held):
        for line in result.output.text[-SHOWN:].splitlines():
            say(f"        | {line}")


if __name__ == "__main__":
    sys.exit(main())

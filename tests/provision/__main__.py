"""`make provision`: the roles on fresh hosts of each release, from `--check` to removal.

`python -m tests.provision [debian12] [debian13] [--keep]`: the run. `target RELEASE [--name SUFFIX]` starts a
host to try things on and prints its container's name, `remove NAME …` takes it away, `list` names all.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.provision import builds, cache, lint, target
from tests.provision.commands import ROOT, Failed
from tests.provision.controller import Controller
from tests.provision.course import Builds, Course
from tests.provision.releases import RELEASES
from tests.provision.report import Report
from tests.provision.target import Target

RUN_WITHIN = 75 * 60.0


def main() -> int:
    """0 when everything held; 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.provision", description=__doc__)
    parser.add_argument(
        "what", nargs="*", help=f"of {', '.join(RELEASES)}; or: target RELEASE, remove NAME …, list"
    )
    parser.add_argument("--name", default="", help="a suffix for a target's name")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, help="the git checkout whose commits are installed"
    )
    parser.add_argument("--keep", action="store_true", help="leave hosts and logs as they are in the end")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _ended)
    cache.docker_is_here()
    verb, rest = (chosen.what or ["run"])[0], chosen.what[1:]
    try:
        if verb == "target" and len(rest) == 1 and rest[0] in RELEASES:
            return _start(rest[0], chosen.name)
        if verb == "remove" and rest:
            return _remove(rest)
        if verb == "list":
            print("\n".join(f"{name}\t{release}" for name, release in target.existing()))
            return 0
        if chosen.what in ([], ["run"]) or set(chosen.what) <= set(RELEASES):
            return _run([name for name in RELEASES if name in (chosen.what or RELEASES)], chosen)
    except Failed as failed:
        print(f"provision: {failed}", file=sys.stderr)
        return 1
    print(f"provision: {' '.join(chosen.what)} is nothing to do; see --help", file=sys.stderr)
    return 64


def _run(names: list[str], chosen: argparse.Namespace) -> int:
    report = Report(RUN_WITHIN)
    folder = Path(tempfile.mkdtemp(prefix="egress-provision-"))
    hosts = [Target(RELEASES[name], _name(name, chosen.name or "run")) for name in names]
    try:
        controller = Controller(folder)
        if report.step("the collection is built and installed", controller.install, 900) and report.step(
            "ansible-lint, production profile", lambda: lint.clean(folder / "lint"), 600
        ):
            made = Builds(
                old=builds.of_commit(chosen.checkout, "HEAD~1", folder / "old"),
                new=(new := builds.of_commit(chosen.checkout, "HEAD", folder / "new")),
                broken=builds.broken(new, folder / "broken"),
            )
            for host in hosts:
                Course(host, controller, made).run(report)
                if not chosen.keep:
                    host.remove()
    finally:
        if not chosen.keep:
            for host in hosts:
                host.remove()
    if report.failed or not report.held:
        print(f"logs: {folder}")
        print(f"provision: FAILED: {'; '.join(report.failed) or 'nothing was tried'}")
        return 1
    shutil.rmtree(folder)
    print("provision: ok")
    return 0


def _name(release: str, suffix: str) -> str:
    return "-".join(filter(None, ("egress-provision", release, suffix)))


def _start(release: str, suffix: str) -> int:
    host = Target(RELEASES[release], _name(release, suffix))
    host.start()
    print(host.name)
    return 0


def _remove(names: list[str]) -> int:
    known = dict(target.existing())
    for name in names:
        if name not in known:
            raise Failed(f"{name} is no target; see: python -m tests.provision list")
        Target(RELEASES[known[name]], name).remove()
    return 0


def _ended(number: int, frame: object) -> NoReturn:
    del number, frame
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())

"""`make provision`: the roles on fresh hosts of each release, from `--check` to removal.

`python -m tests.provision [debian12] [debian13] [--only STEP]`: the run. `target RELEASE [--name SUFFIX]` starts a
host to try things on and prints its container's name, `remove NAME …` takes it away, `list` names all.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import NoReturn

from tests.provision import cache, target
from tests.provision.commands import Failed
from tests.provision.releases import RELEASES
from tests.provision.target import Target


def main() -> int:
    """0 when everything held; 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.provision", description=__doc__)
    parser.add_argument(
        "what", nargs="*", help=f"of {', '.join(RELEASES)}; or: target RELEASE, remove NAME …, list"
    )
    parser.add_argument("--name", default="", help="a suffix for a target's name")
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
    except Failed as failed:
        print(f"provision: {failed}", file=sys.stderr)
        return 1
    print(f"provision: {' '.join(chosen.what)} is nothing to do; see --help", file=sys.stderr)
    return 64


def _start(release: str, suffix: str) -> int:
    host = Target(RELEASES[release], "-".join(filter(None, ("egress-provision", release, suffix))))
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

"""Coverage-guided fuzzing of every target in turn, bounded in time and memory: `make fuzz TARGET=… SECONDS=…`.

Each target runs in a child process under libFuzzer (atheris). It begins with the seeds, the kept corpus and
earlier findings; afterwards the corpus is minimised and kept. An input that fails is saved under `findings/`
and replayed by `make test` from then on. Exit status 1 when anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.target import Target, load, names

ROOT = Path(__file__).resolve().parents[2]
INSTRUMENTED = ["appliance", "netns", "dns", "idna", "ruamel"]
ADDRESS_SPACE = 4 << 30  # bytes; libFuzzer's own limit below it speaks first and names the input
RESIDENT_MEGABYTES = 1024
INPUT_SECONDS = 20
GRACE_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What a run of one target came to."""

    target: str
    executions: int
    found: tuple[Path, ...]
    failed: str
    kept: int

    def __str__(self) -> str:
        shown = (
            ", ".join(str(file.relative_to(ROOT)) for file in self.found) or self.failed or "nothing found"
        )
        return f"{self.target:18} {self.executions:>10} executions, {self.kept:>3} inputs kept: {shown}"


def main() -> int:
    """Parent and child: the child is told by its first argument."""
    if sys.argv[1:2] == ["--child"]:
        _fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"some of: {', '.join(names())}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    chosen = parser.parse_args()
    unknown = set(chosen.targets) - set(names())
    if unknown or chosen.seconds < 1:
        parser.error(f"no target {', '.join(sorted(unknown))}" if unknown else "at least one second")
    outcomes = []
    for name in chosen.targets or names():
        outcomes.append(_run(load(name), chosen.seconds))
        print(outcomes[-1], flush=True)
    return 1 if any(outcome.found or outcome.failed for outcome in outcomes) else 0


def _run(target: Target, seconds: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="egress-fuzz-") as place:
        known, fresh, smallest = (Path(place, part) for part in ("known", "fresh", "smallest"))
        for directory in (known, fresh, smallest):
            directory.mkdir()
        for data in (*target.seeds, *corpus.load(target.name), *corpus.findings(target.name)):
            known.joinpath(hashlib.sha256(data).hexdigest()).write_bytes(data)
        words = Path(place, "words")
        words.write_text("".join(f'"{_quoted(token)}"\n' for token in target.tokens), "ascii")
        program = _program(Path(place, "fuzz"), target.name)
        limits = [
            f"-max_len={corpus.LONGEST_INPUT}",
            f"-timeout={INPUT_SECONDS}",
            f"-rss_limit_mb={RESIDENT_MEGABYTES}",
            f"-artifact_prefix={place}/artifact-",
        ]
        search = [
            f"-max_total_time={seconds}",
            f"-dict={words}",
            "-print_final_stats=1",
            str(fresh),
            str(known),
        ]
        code, said = _child([str(program), *limits, *search], seconds + GRACE_SECONDS)
        executions = re.search(r"number_of_executed_units: *(\d+)", said)
        found = tuple(_keep(target.name, file) for file in sorted(Path(place).glob("artifact-*")))
        failed = "" if found or not code else f"exit status {code}: {said[-2000:]}"
        if found:
            print(said[max(said.find("=== Uncaught"), 0) :][:4000], file=sys.stderr)
        if code:
            kept = len(corpus.load(target.name))
        else:
            merge = ["-merge=1", f"-max_total_time={GRACE_SECONDS}", str(smallest), str(fresh), str(known)]
            code, said = _child([str(program), *limits, *merge], 2 * GRACE_SECONDS)
            failed = f"the corpus was not minimised: {said[-2000:]}" if code else ""
            kept = corpus.save(target.name, [file.read_bytes() for file in smallest.iterdir()])
        return Outcome(target.name, int(executions[1]) if executions else 0, found, failed, kept)


def _program(file: Path, name: str) -> Path:
    """One file to execute: to merge, libFuzzer starts itself anew by the name of its program."""
    command = shlex.join([sys.executable, "-m", "tests.fuzz.run", "--child", name])
    file.write_text(f'#!/bin/sh\nexec {command} "$0" "$@"\n')
    file.chmod(0o700)
    return file


def _child(command: list[str], seconds: int) -> tuple[int, str]:
    try:
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"the run did not end in {seconds} seconds"
    return ran.returncode, ran.stdout + ran.stderr


def _keep(name: str, artifact: Path) -> Path:
    """Named as libFuzzer names it: crash-, timeout- or oom- and the digest."""
    corpus.FINDINGS.mkdir(exist_ok=True)
    return artifact.rename(corpus.FINDINGS / f"{name}-{artifact.name.removeprefix('artifact-')}")


def _quoted(token: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in token)


def _fuzz(name: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = load(name)
    atheris.Setup(arguments, target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

"""`make demo`: the whole appliance on a closed Internet, watched doing its job. Needs no network but for images.

Prints every step with its result and ends with `demo: N of N checks passed`; exit status 0 only when all did.
Whatever happens, everything it made is removed again; `--down` removes what a killed demo left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from appliance.verify import battery
from appliance.verify.case import Image, Layer, Result
from tests.lab.appliance import Appliance, egress, failure_logs, remove_leftovers
from tests.lab.containers import IMAGES, build_images, build_static_client, replaced_images
from tests.lab.internet import CONTAINER_LABEL, RUNTIME, WWW, namespace_path
from tests.lab.lab import GATEWAY, Lab, clear, exclusive
from tests.lab.namespaces import LabError, existing, run
from tests.lab.packages import GREETING
from tests.lab.policies import LISTER, POLICIES, READER
from tests.lab.world import LabWorld

OUTPUT_SHOWN = 1200
LOCK_SECONDS = 600  # as long as a test run may hold the lab
# Of the battery, what tells the story; `make verify-lab` tries all of it.
TOLD = (
    ("What workloads get", ("T",)),
    (
        "What they do not get, every canary proved alive first",
        (
            "A1",
            "A3-variables",
            "A4",
            "A6-udp",
            "A7-ping",
            "A8-raw",
            "A9-direct",
            "B1",
            "B3",
            "B7-requests",
            "C13-explicit",
            "D2",
            "D11-servers",
            "E7-methods",
            "F3-uploads",
        ),
    ),
    (
        "Secrets that a container uses and never sees, whatever its provider repeats",
        ("H1", "H9", "H3", "H2"),
    ),
    ("Other tenants, and who asks for more than he may", ("A19", "A12-power", "A23-engine", "A25")),
)


@dataclass(slots=True)
class Report:
    """Prints as it goes, counts at the end."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def head(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def check(self, title: str, seconds: float, problems: tuple[str, ...] = (), detail: str = "") -> None:
        word = "FAILED" if problems else "ok"
        print(f"  {word:6} {seconds:5.1f} s  {title}", flush=True)
        for problem in problems:
            print(f"                  {problem}", flush=True)
        if problems:
            self.failed.append(title)
            for line in detail.strip()[-OUTPUT_SHOWN:].splitlines():
                print(f"                  | {line}", flush=True)
        else:
            self.passed += 1

    def result(self, result: Result) -> None:
        case = result.case
        word = f"{case.outcome.value:7}"
        self.check(
            f"{word} {case.title}",
            result.seconds,
            result.problems or ((result.not_run,) if result.not_run else ()),
            result.output.text if result.output else "",
        )

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step that either works or ends the demo."""
        started = time.monotonic()
        try:
            yield
        except LabError as error:
            self.check(title, time.monotonic() - started, (str(error),))
            raise
        self.check(title, time.monotonic() - started)

    def closing(self) -> int:
        total = self.passed + len(self.failed)
        print(f"\n{time.monotonic() - self.started:.0f} s in all", flush=True)
        for title in self.failed:
            print(f"failed: {title}", flush=True)
        print(f"demo: {self.passed} of {total} checks passed", flush=True)
        return 0 if total and not self.failed else 1


def set_id_files(image: str) -> tuple[str, ...]:
    """Files with a set-uid or set-gid bit in an image; there must be none."""
    script = "find / -xdev -type f -perm /6000"
    argv = (
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "0:0",
        "--entrypoint",
        "/bin/sh",
        image,
        "-c",
        script,
    )
    return tuple(run(*argv, timeout=60).split())


def _prepare_images(report: Report) -> None:
    with report.step("runner images from signed Debian packages"):
        build_images(lambda line: print(f"                  {line}", flush=True))
    with report.step("a static C client on top of one"):
        build_static_client(IMAGES[Image.STATIC], IMAGES[Image.PYTHON])
    for image in (IMAGES[Image.PYTHON], IMAGES[Image.NODE]):
        started = time.monotonic()
        found = set_id_files(image)
        report.check(f"no set-id file in {image}", time.monotonic() - started, found)


def _run_cases(report: Report, world: LabWorld) -> None:
    cases = battery.gather(world)
    for title, wanted in TOLD:
        report.head(title)
        told = [case for case in cases if any(battery.matches(case, word) for word in wanted)]
        for result in battery.run(told, [Layer.GATEWAY], world):
            report.result(result)


def _operators_view(report: Report) -> None:
    """`egress run` with its closing summary, and what the audit log kept of the refusals."""
    started = time.monotonic()
    job = f"curl -sS https://{WWW.name}/ && curl -sS -X POST -d x=1 -o /dev/null https://{WWW.name}/echo; exit 7"
    done = egress("run", "--tenant", READER, "--", "sh", "-c", job, check=False)
    text = done.stdout + done.stderr
    problems = [f"output lacks {wanted!r}" for wanted in (GREETING, "path-not-allowed") if wanted not in text]
    problems += [] if done.returncode == 7 else [f"exit status {done.returncode}, not the job's 7"]
    report.check(
        "egress run: the job's exit code, and what was refused",
        time.monotonic() - started,
        tuple(problems),
        text,
    )
    started = time.monotonic()
    log = egress("--json", "log", "--tenant", LISTER, "--denied", check=False).stdout
    missing = () if "exfil.example.com" in log else ("no record of the refused name",)
    report.check("egress log: the refused DNS name is on record", time.monotonic() - started, missing, log)


def traces() -> tuple[str, ...]:
    """What a lab or its appliance left on this host; there must be nothing."""
    admission = Path("/etc/docker/daemon.json")
    found = [f"namespace {name}" for name in (*existing(), GATEWAY) if namespace_path(name).exists()]
    found += [
        f"container {c}" for c in run("docker", "ps", "-aq", "--filter", f"label={CONTAINER_LABEL}").split()
    ]
    found += [
        f"network {n}" for n in run("docker", "network", "ls", "-q", "--filter", f"driver={GATEWAY}").split()
    ]
    found += [f"image {image}" for image in replaced_images()]
    found += [f"table {line}" for line in run("nft", "list", "tables").splitlines() if GATEWAY in line]
    found += [str(path) for path in (RUNTIME,) if path.exists()]
    if admission.exists() and GATEWAY in admission.read_text():
        found.append(f"admission plugin in {admission}")
    return tuple(found)


def _demo(report: Report, stack: ExitStack) -> None:
    report.head("Setting up")
    _prepare_images(report)
    lab = Lab(locked=True)
    with report.step("the lab: a closed Internet with live canaries"):
        stack.enter_context(lab)
    with report.step("no lab namespace leads out of the lab"):
        lab.assert_closed()
    with report.step("appliance up, two tenants added"):
        stack.enter_context(Appliance(lab, POLICIES))
    with report.step("the lab is still closed with the appliance in it"):
        lab.assert_closed()
    world = LabWorld()
    world.attach(lab)
    with report.step("two tenants' accounts, their secrets in the vault"):
        world.keep_secrets()
    stack.callback(world.close)
    _run_cases(report, world)
    report.head("What the operator sees")
    _operators_view(report)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _down() -> int:
    try:
        with exclusive(wait_seconds=2):
            remove_leftovers()
            clear()
            left = traces()
    except LabError as error:
        left = (str(error),)
    for trace in left:
        print(f"demo: still there: {trace}", file=sys.stderr)
    return 1 if left else 0


def main() -> int:
    """Run the demo; 0 when every check passed, 1 otherwise, 2 when it cannot run here at all."""
    if os.geteuid() != 0:
        print("demo: network namespaces and containers need root; run: sudo make demo", file=sys.stderr)
        return 2
    if sys.argv[1:] == ["--down"]:
        return _down()
    signal.signal(signal.SIGTERM, _interrupted)
    report = Report()
    try:
        with exclusive(LOCK_SECONDS):
            remove_leftovers()
            with ExitStack() as stack:
                _demo(report, stack)
            started = time.monotonic()
            report.head("Afterwards")
            report.check("nothing is left on the host", time.monotonic() - started, traces())
    except LabError as error:
        print(f"\ndemo: stopped: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        report.failed.append("interrupted")
    if report.failed:
        print(failure_logs(), file=sys.stderr)
    return report.closing()


if __name__ == "__main__":
    sys.exit(main())

"""The mutation run: each protection is taken away in turn, and its case of the battery must then fail.

A battery in which no row can fail proves nothing. The appliance of the lab runs from a copy of the installed
program; for each row of `mutations` one text of the copy is changed and only the processes that read it are
killed, so that the supervisor starts them anew; or one rule is taken out of the kernel while netd sleeps. A
protection that nobody misses is a hole in the battery, or dead, and fails the run.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import appliance as product
from appliance import ipc
from appliance.listeners import listening_pid
from appliance.processes import processes
from appliance.verify import battery
from appliance.verify.case import Layer, Result
from tests.escape.mutation import Edit, Kernel, Mutation, Process
from tests.escape.mutations import MUTATIONS
from tests.lab import appliance, policies
from tests.lab.containers import build_images
from tests.lab.lab import Lab, exclusive
from tests.lab.namespaces import LabError
from tests.lab.residents import until
from tests.lab.world import WAIT_SECONDS, LabWorld

ROOT = Path(product.__file__).resolve().parents[1]
PACKAGES = ("appliance", "netns", "squid")
SAMPLE = 6  # how many of the cases are tried again at the end
REACHED = "REACHED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a mutation; `problems` of the run itself, empty when it was noticed as it should be."""

    mutation: Mutation
    reached: bool
    seconds: float
    problems: tuple[str, ...] = ()


class Copy:
    """Context manager: the installed program in a place of its own, in which texts can be changed."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="egress-mutant-", dir="/var/tmp"))
        self._times = itertools.count(int(time.time()) + 10, 10)
        self._packages = self._directory / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        self._changed: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._directory.chmod(0o755)  # the appliance's uids read it
        venv.EnvBuilder(symlinks=True).create(self._directory)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self._packages / package)
        # What it depends on is where it was; what else that place says of the import path is not read.
        elsewhere = [path for path in sys.path if path.endswith("-packages")]
        (self._packages / "elsewhere.pth").write_text("".join(f"{path}\n" for path in elsewhere))
        self.command.write_text(f"#!{self._directory}/bin/python3 -I\n"
                                "from appliance.cli.main import main\nraise SystemExit(main())\n")  # fmt: skip
        self.command.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def command(self) -> Path:
        """The operator's command, of this copy."""
        return self._directory / "bin" / "egress"

    def change(self, edits: Iterable[Edit]) -> None:
        """Undo what was changed before, and change this. Raises `ValueError` for a text that is not there once."""
        for file, text in self._changed.items():
            self._write(file, text)
        self._changed.clear()
        for edit in edits:
            text = (self._packages / edit.file).read_text()
            self._changed.setdefault(edit.file, text)
            self._write(edit.file, edit.applied(text))

    def _write(self, file: str, text: str) -> None:
        path = self._packages / file
        path.write_text(text)
        # Compiled files are told apart by whole seconds and sizes: neither may decide which text is read.
        os.utime(path, (stamp := next(self._times), stamp))
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


class Bench:
    """A lab with an appliance that runs from a copy, on which protections are taken away."""

    def __init__(self, world: LabWorld, copy: Copy) -> None:
        self.world = world
        self._copy = copy
        self._odd: set[Process] = set()  # processes that run a changed text
        self._cases = {case.id: case for case in battery.gather(world)}
        self._settings = world.settings
        self._fall_back("off")

    def holds(self, identifier: str, layer: Layer) -> list[str]:
        """What is wrong with a case while nothing is taken away; nothing, that is."""
        with self._at(layer):
            result = self._try(identifier, layer)
        if result.held:
            return []
        output = result.output.text[-1500:] if result.output else ""
        why = result.not_run or "; ".join(result.problems)
        return [f"{identifier} at layer {layer} does not hold: {why}\n{output}"]

    def layer(self, mutation: Mutation) -> Layer:
        """Where its case is tried: as it says, or the first layer at which nothing has to be stopped."""
        case = self._cases[mutation.case]
        usual = next((x for x in (Layer.GATEWAY, Layer.KERNEL) if x in case.layers), Layer.SQUID)
        return mutation.layer or usual

    def mend(self) -> None:
        """Everything as it is in the product."""
        self._run_with((), set())

    def without(self, mutation: Mutation) -> Finding:
        """Take the protection away, and see whether its case notices."""
        started = time.monotonic()
        problems: list[str] = []
        try:
            for part in mutation.parts():
                held = self._failing(part)
                if not held.held:
                    problems.append(f"one alone is not held: {part.kernel or part.edits}: {held.problems}")
            result = self._failing(mutation)
        except (LabError, OSError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")
            return Finding(mutation, False, time.monotonic() - started, tuple(problems))
        finding = judged(mutation, result, time.monotonic() - started)
        return replace(finding, problems=(*problems, *finding.problems))

    def _failing(self, mutation: Mutation) -> Result:
        if mutation.anew:
            self.world.close()  # netd stops what is not as it was when it started
        self._run_with(mutation.edits, set(mutation.restart))
        layer = self.layer(mutation)
        with self._kernel(mutation.kernel), self._at(layer), self._anew(mutation.anew):
            if mutation.kernel is None:
                self._assert_serves()
            return self._try(mutation.case, layer)

    def _assert_serves(self) -> None:
        """A program that a change has broken refuses everything, which is no sign of a protection."""
        www = self.world.targets.www.name
        fetched = self.world.run("reader", ("curl", "-sS", "--max-time", "10", f"https://{www}/"))
        if fetched.status != 0 or "hello" not in fetched.text:
            raise LabError(f"nothing is served any more: {fetched.text[:300]}")

    @contextmanager
    def _anew(self, wanted: bool) -> Iterator[None]:  # noqa: FBT001 - a mutation's own field
        self.world.stays = not wanted
        try:
            yield
        finally:
            self.world.stays = True

    def _try(self, identifier: str, layer: Layer) -> Result:
        return battery.run_case(self._cases[identifier], layer, self.world)

    @contextmanager
    def _at(self, layer: Layer) -> Iterator[None]:
        if layer is not Layer.SQUID:
            yield
            return
        self._fall_back("on")
        try:
            yield
        finally:
            self._fall_back("off")

    def _fall_back(self, mode: str) -> None:
        """Off is not the default: a worker that is killed here is back before anybody misses it."""
        until(lambda: self._set_fallback(mode), f"the fallback could not be turned {mode}")

    def _set_fallback(self, mode: str) -> bool:
        asked = {"op": "fallback", "mode": mode}
        answer = ipc.ask(str(self._settings.control_socket("netd")), asked, timeout=10)
        return bool(answer.get("ok") and (mode == "off" or answer.get("fallback_ready")))

    def _run_with(self, edits: Sequence[Edit], restart: set[Process]) -> None:
        self._copy.change(edits)
        victims, self._odd = self._odd | restart, restart
        self._restart(
            [p.name for p in processes(self._settings) if any(p.name.startswith(v) for v in victims)]
        )

    def _restart(self, names: Sequence[str]) -> None:
        old = {name: self._pid(name) for name in names}
        for pid in old.values():
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        for name, pid in old.items():
            until(lambda name=name, pid=pid: self._is_new(name, pid), f"{name} did not come back")
        if Process.NETD in names:
            self._fall_back("off")

    def _is_new(self, name: str, old: int | None) -> bool:
        if self._pid(name) in (None, old):
            return False
        try:
            return bool(
                ipc.ask(str(self._settings.control_socket(name)), {"op": "status"}, timeout=2).get("ready")
            )
        except (OSError, ValueError):
            return False

    def _pid(self, name: str) -> int | None:
        return listening_pid(str(self._settings.control_socket(name)))

    @contextmanager
    def _kernel(self, change: Kernel | None) -> Iterator[None]:
        """The kernel's table and settings changed, with netd asleep so that nobody mends them."""
        if change is None:
            yield
            return
        netd = self._pid("netd")
        if netd is None:
            raise LabError("netd does not run")
        for tenant in self.world.tenants:
            self.world.run(tenant, ("true",))  # no container can be started while netd sleeps
        table = self._in_gateway("nft", "-s", "list", "table", "inet", self.world.instance)
        routes = [
            line for line in self._in_gateway("ip", "route").splitlines() if line.startswith("unreachable")
        ]
        os.kill(netd, signal.SIGSTOP)
        try:
            self._load(change.applied(table))
            for command in change.commands:
                self._in_gateway(*command)
            yield
        finally:
            self._load(table)
            for command in change.undo:
                self._in_gateway(*command)
            present = self._in_gateway("ip", "route")
            for route in routes:
                if route.strip() not in present:
                    self._in_gateway("ip", "route", "add", *route.split())
            os.kill(netd, signal.SIGCONT)

    def _load(self, table: str) -> None:
        name = f"table inet {self.world.instance}"
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(f"{name}\ndelete {name}\n{table}")
            file.flush()
            self._in_gateway("nft", "-f", file.name)

    def _in_gateway(self, *command: str) -> str:
        done = self.world.in_gateway(*command)
        if done.status != 0:
            raise LabError(f"{' '.join(command)}: {done.text}")
        return done.text


def judged(mutation: Mutation, result: Result, seconds: float) -> Finding:
    """What the result of its case says: it must have failed, by its canary where the mutation says so."""
    problems = [f"{result.case.id} could not be tried: {result.not_run}"] if result.not_run else []
    if result.held:
        problems.append(f"{result.case.id} notices nothing")
    problems += [problem for problem in result.problems if problem.startswith("control:")]
    reached = any(problem.startswith(REACHED) for problem in result.problems)
    if mutation.reached is not None and reached is not mutation.reached:
        problems.append("no canary was reached" if mutation.reached else "a canary was reached")
    return Finding(mutation, reached, seconds, tuple(problems))


@contextmanager
def bench() -> Iterator[Bench]:
    """A lab of its own with an appliance that runs from a copy; all gone afterwards."""
    with ExitStack() as stack:
        stack.enter_context(exclusive(WAIT_SECONDS))
        appliance.remove_leftovers()
        build_images(lambda _line: None)
        lab = stack.enter_context(Lab(locked=True))
        yield stack.enter_context(bench_in(lab))


@contextmanager
def bench_in(lab: Lab) -> Iterator[Bench]:
    """The same in a lab that is up, and in which no appliance is."""
    with ExitStack() as stack:
        copy = stack.enter_context(Copy())
        stack.enter_context(command(copy.command))
        stack.enter_context(appliance.Appliance(lab, policies.POLICIES, further={"workers": 1}))
        world = LabWorld(stays=True)
        world.attach(lab)
        world.keep_secrets()
        stack.callback(world.close)
        yield Bench(world, copy)


@contextmanager
def command(path: Path) -> Iterator[None]:
    """Everything that drives the lab's appliance does it by this command."""
    before, appliance.COMMAND = appliance.COMMAND, path
    try:
        yield
    finally:
        appliance.COMMAND = before


def run(stand: Bench, mutations: Sequence[Mutation], say: Callable[[str], None]) -> list[str]:
    """Cases hold, each mutation is noticed, some cases hold again: what is wrong of it.

    One whose canary must be reached is not tried first: only a leak would pass for that.
    """
    wanted = list(dict.fromkeys((mutation.case, stand.layer(mutation)) for mutation in mutations))
    first = list(dict.fromkeys((m.case, stand.layer(m)) for m in mutations if not m.reached))
    problems: list[str] = []
    started = time.monotonic()
    for identifier, layer in first:
        found = stand.holds(identifier, layer)
        problems += found
        for line in found:
            say(f"FAILED  {line}")
    say(f"{len(first) - len(problems)} of {len(first)} cases hold ({time.monotonic() - started:.0f} s)")
    noticed = 0
    for mutation in mutations:
        finding = stand.without(mutation)
        noticed += not finding.problems
        say(line_of(finding))
        problems += [f"{mutation.name}: {problem}" for problem in finding.problems]
    stand.mend()
    for identifier, layer in wanted[:: max(1, len(wanted) // SAMPLE)]:
        problems += [f"at the end, {problem}" for problem in stand.holds(identifier, layer)]
    say(f"mutations: {noticed} of {len(mutations)} noticed ({time.monotonic() - started:.0f} s)")
    return problems


def line_of(finding: Finding) -> str:
    """One row of what is printed."""
    mutation = finding.mutation
    verdict = "FAILED" if finding.problems else "noticed"
    how = "reached" if finding.reached else "told otherwise"
    each = ", each alone held" if mutation.each else ""
    text = (f"{verdict:8}{mutation.name:24}{mutation.protects:66}{mutation.case:20}{finding.seconds:5.1f} s  "
            f"{how}{each}")  # fmt: skip
    return "\n".join([text, *(f"        {problem}" for problem in finding.problems)])


def main(words: Sequence[str]) -> int:
    """`python -m tests.escape.mutate [NAME…]`: all mutations, or those whose names begin so."""
    chosen = [m for m in MUTATIONS if not words or m.name.startswith(tuple(words))]
    with bench() as stand:
        problems = run(stand, chosen, lambda line: print(line, flush=True))
    for problem in problems:
        print(f"FAILED  {problem}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

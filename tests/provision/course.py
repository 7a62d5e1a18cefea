"""What one host goes through, from nothing to the appliance and back, in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.provision import boot, exposure, state, witness, workload
from tests.provision.builds import Build
from tests.provision.commands import Failed
from tests.provision.controller import Controller, Played
from tests.provision.given import TENANT, variables
from tests.provision.refusals import BARE, PROVISIONED, Refusal
from tests.provision.report import Report
from tests.provision.target import Target

PLAY_WITHIN = 900.0
CANARY = "10.0.1.5"
SOME_CASES = ["A4", "A8", "C1"]
"""What role verify tries after the first time, when it has tried all."""


@dataclass(frozen=True, slots=True)
class Builds:
    """What is installed first, what is upgraded to, and what cannot serve."""

    old: Build
    new: Build
    broken: Build


class Course:
    """One target and what it is given; a step returns its detail or raises `Failed`."""

    def __init__(self, target: Target, controller: Controller, builds: Builds) -> None:
        self._target = target
        self._controller = controller
        self._builds = builds
        self._before: state.State = {}

    def run(self, report: Report) -> None:
        """All steps. After one that the rest needs, the rest is not tried."""
        name = self._target.release.name
        for words, act, within, needed in self._steps():
            held = report.step(f"{name}: {words}", act, within)
            if not held and needed:
                report.left_out(f"{name}: what comes after", f"{words!r} did not hold")
                return

    def _steps(self) -> list[tuple[str, Callable[[], str], float, bool]]:
        refusals = [
            (f"refused on a bare host: {refusal.words}", self._refused(refusal), 120.0, False)
            for refusal in BARE
        ]
        later = [
            (f"refused on the appliance: {refusal.words}", self._refused(refusal), 180.0, False)
            for refusal in PROVISIONED
        ]
        return [
            ("a fresh host", self._fresh, 300, True),
            ("nothing of it reaches the machine's network", self._closed, 60, True),
            *refusals,
            ("--check before anything is there", self._checked, PLAY_WITHIN, False),
            ("site.yml fails half-way without a wheel", self._half_way, PLAY_WITHIN, False),
            ("site.yml after that", self._converged, PLAY_WITHIN, True),
            ("site.yml again changes nothing", self._idempotent, PLAY_WITHIN, False),
            ("--check again changes nothing", self._checked_again, PLAY_WITHIN, False),
            ("exposure of each unit", self._exposed, 60, False),
            ("a tenant's container works, and nothing else gets out", self._works, 120, True),
            ("reboot: all back and enforcing before a container runs", self._rebooted, 300, False),
            *later,
            ("upgrade.yml under a container's requests", self._upgraded, PLAY_WITHIN, False),
            ("upgrade.yml to a gateway that does not start goes back", self._rolled_back, PLAY_WITHIN, False),
            ("remove.yml", self._removed, PLAY_WITHIN, True),
            ("the host is as it was", self._as_it_was, 180, False),
        ]

    def _play(self, playbook: str, build: Build, *words: str, **more: Any) -> Played:
        given = {**variables(build), "verify_cases": SOME_CASES, **more}
        return self._controller.play(self._target, playbook, given, *words, within=PLAY_WITHIN)

    def _refused(self, refusal: Refusal) -> Callable[[], str]:
        def act() -> str:
            given = {**variables(self._builds.old), "verify_cases": SOME_CASES, **refusal.variables}
            if refusal.prepare:
                self._target.sh(refusal.prepare)
            try:
                played = self._controller.play(self._target, refusal.playbook, given, within=PLAY_WITHIN)
                played.refused(*refusal.says)
            finally:
                if refusal.undo:
                    self._target.sh(refusal.undo)
            return f"says {', '.join(map(repr, refusal.says))}"

        return act

    def _fresh(self) -> str:
        self._target.start()
        self._before = state.taken(self._target)
        systemd = self._target.sh("systemctl --version | head -1").strip()
        return f"{systemd}, {len(self._before['files'])} files, {len(self._before['packages'])} packages"

    def _closed(self) -> str:
        openings = self._target.openings()
        if openings:
            raise Failed(f"ways out: {openings}")
        since = witness.mark(self._target)
        asked = f"import urllib.request; urllib.request.urlopen('http://{CANARY}/', timeout=5).read()"
        self._target.run("python3", "-c", asked)
        if CANARY not in witness.reached(self._target, since):
            raise Failed("the witness at the origin does not see the host itself")
        self._target.sh("systemctl restart origin.service")
        return f"the host itself reaches the canary at {CANARY}, and the witness sees it"

    def _checked(self) -> str:
        played = self._play("site", self._builds.old, "--check").held()
        found = state.differences(self._before, state.taken(self._target))
        if found:
            raise Failed(f"--check changed the host: {_shown(found)}")
        return f"would change {played.counts['changed']}, and changed nothing"

    def _half_way(self) -> str:
        """The host has an engine and half a release then; the next run goes on from there."""
        played = self._play("site", self._builds.old, appliance_wheelhouse="/srv/pki")
        reason = played.failed()
        if not played.counts["changed"] or "No matching distribution" not in reason:
            raise Failed(f"{played.counts}; {played.log}:\n{reason}")
        return f"changed {played.counts['changed']} before it failed"

    def _converged(self) -> str:
        played = self._play("site", self._builds.old, verify_cases=[]).held()
        self._healthy()
        return f"changed {played.counts['changed']}; role verify is green, and so is egress doctor"

    def _idempotent(self) -> str:
        played = self._play("site", self._builds.old).held()
        return _unchanged(played)

    def _checked_again(self) -> str:
        return _unchanged(self._play("site", self._builds.old, "--check").held())

    def _exposed(self) -> str:
        return exposure.within_bounds(self._target)

    def _works(self) -> str:
        looking = witness.mark(self._target)
        since = time.time()
        workload.start(self._target, TENANT)
        time.sleep(8)
        asked = workload.asked(self._target, since)
        if not asked.good or asked.bad or not asked.trespasses:
            raise Failed(f"{asked}; {asked.trespasses} forbidden packets")
        witness.nothing_got_out(self._target, looking)
        return f"{len(asked.good)} requests answered; {asked.trespasses} forbidden packets sent, none seen at the origin"

    def _rebooted(self) -> str:
        self._target.reboot()
        return boot.enforced_before_containers(self._target)

    def _upgraded(self) -> str:
        started = workload.started_at(self._target)
        looking = witness.mark(self._target)
        since = time.time()
        self._play("upgrade", self._builds.new).held()
        until = time.time()
        self._in_force(self._builds.new)
        time.sleep(3)
        if workload.started_at(self._target) != started:
            raise Failed("the container was started anew")
        asked = workload.asked(self._target, since, until)
        after = workload.asked(self._target, until)
        if not asked.bearable() or not asked.trespasses or not after.good or after.bad:
            raise Failed(f"during: {asked}, {asked.trespasses} forbidden packets; after: {after}")
        witness.nothing_got_out(self._target, looking)
        return f"{asked}; {asked.trespasses} forbidden packets sent, none seen at the origin"

    def _rolled_back(self) -> str:
        looking = witness.mark(self._target)
        since = time.time()
        played = self._play("upgrade", self._builds.broken)
        until = time.time()
        reason = played.failed()
        if (
            "gateway"
            not in " ".join(played.said.out.split()).partition(" is back on ")[2].partition(" failed at: ")[2]
        ):
            raise Failed(f"{played.log}:\n{reason}")
        self._in_force(self._builds.new)
        boot.await_active(self._target)
        time.sleep(3)
        asked, after = workload.asked(self._target, since, until), workload.asked(self._target, until)
        self._healthy()
        if not asked.good or not asked.trespasses or not after.good or after.bad:
            raise Failed(f"during: {asked}, {asked.trespasses} forbidden packets; after: {after}")
        witness.nothing_got_out(self._target, looking)
        return f"the release before serves; {asked}"

    def _in_force(self, build: Build) -> None:
        version = self._target.run("egress", "--json", "version").out
        if build.commit not in version:
            raise Failed(f"{build.commit} is not in force: {version}")

    def _healthy(self) -> None:
        doctor = self._target.run("egress", "doctor", check=False)
        if doctor.status != 0:
            raise Failed(f"egress doctor: {doctor.last}")

    def _removed(self) -> str:
        refused = self._play("remove", self._builds.new)
        refused.refused("remove_confirm")
        workload.remove(self._target)
        played = self._play("remove", self._builds.new, remove_confirm=True).held()
        return f"refused without its word; changed {played.counts['changed']}"

    def _as_it_was(self) -> str:
        found = state.differences(self._before, state.taken(self._target))
        if found:
            raise Failed(_shown(found))
        return "no file, package, user, unit, link, rule, setting, mount or process more or less"


def _unchanged(played: Played) -> str:
    changed = [
        block.splitlines()[0] for block in played.said.out.split("TASK ")[1:] if "\nchanged: " in block
    ]
    if played.counts["changed"] != 0:
        raise Failed(f"changed={played.counts['changed']}: {'; '.join(changed)}; {played.log}")
    return f"changed=0 of {played.counts['ok']} tasks"


def _shown(found: list[str]) -> str:
    more = f"\n… and {len(found) - 60} more" if len(found) > 60 else ""
    return f"{len(found)} differences:\n" + "\n".join(found[:60]) + more

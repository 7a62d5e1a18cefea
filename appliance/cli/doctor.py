"""`egress doctor`: what is wrong on this host, and the command that mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import docker.errors

from appliance import docker_host, preflight
from appliance.cli.failures import require_root
from appliance.cli.output import Cli, counted, pass_cli
from appliance.cli.run import DEFAULT_IMAGE
from appliance.cli.status import NOT_RUNNING, ask_process, nothing_runs, state
from appliance.preflight import Check
from appliance.processes import SUPERVISOR
from appliance.units.render import service_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.ipc import Message
    from appliance.settings import Settings


SHOWN_REPAIRS = 3  # netd remembers more; the audit log has all


@click.command()
@pass_cli
def doctor(cli: Cli) -> None:
    """Check host, processes, rules, links and Docker, and change nothing.

    Exit code 1 when something needs mending; each line that fails has the mend below it.
    """
    require_root("egress doctor")
    with cli.progress("looking"):
        checks = [*preflight.before_up(cli.settings), *running(cli.settings)]
    if cli.as_json:
        cli.emit([asdict(check) for check in checks])
    else:
        for check in checks:
            click.echo(f"{_mark(check)}  {check.name}: {check.detail}")
            if check.mend and (check.warns or not check.ok):
                click.echo(f"      mend: {check.mend}")
    if not all(check.ok for check in checks):
        raise SystemExit(1)


def _mark(check: Check) -> str:
    if not check.ok:
        return click.style("FAIL", fg="red")
    return click.style("warn", fg="yellow") if check.warns else click.style("ok  ", fg="green")


def running(settings: Settings) -> Iterator[Check]:
    """Checks of a running appliance; one line when it is not up."""
    current = state(settings)
    answers = current["processes"]
    up = answers[SUPERVISOR].get("error") != NOT_RUNNING
    if nothing_runs(current):
        yield Check("appliance", ok=False, detail="not running", mend="egress up")
        return
    yield Check("appliance", up, "up" if up else "its supervisor is gone, the rest serves on", "egress up")
    for name, answer in answers.items():
        if name != SUPERVISOR or up:
            yield from _process(settings, name, answer, by_systemd="by" in answers[SUPERVISOR])
    if answers["broker"].get("ok"):
        yield vault(ask_process(settings, "broker", {"op": "vault-status"}))
    if answers["netd"].get("ok"):
        yield drift(ask_process(settings, "netd", {"op": "drift"}), int(answers["netd"].get("repairs") or 0))
        yield from repaired(answers["netd"])
        yield from fallback(answers["netd"])
    yield from _docker(settings)


def _process(settings: Settings, name: str, answer: Message, *, by_systemd: bool) -> Iterator[Check]:
    ready = bool(answer.get("ready"))
    why = answer.get("detail") or answer.get("problem") or answer.get("error") or "not ready"
    log = (
        f"journalctl -u {service_name(settings, name)}"
        if by_systemd
        else f"read {settings.log_dir}/supervisor.log"
    )
    yield Check(f"process {name}", ready, "ready" if ready else str(why), log)
    problem = answer.get("policy_error")
    if problem:
        yield Check(
            f"policy of {name}", ok=False, detail=str(problem), mend="mend the file; it is re-read at once"
        )


def vault(answer: Message) -> Check:
    """Whether the broker can open its secrets: `answer` is {"ok": true, "state": word, "secrets": number}."""
    if not answer.get("ok"):
        return Check(
            "vault", ok=False, detail=f"{answer.get('detail') or answer.get('error')}", mend=_RESTORE
        )
    if answer.get("state") == "open":
        return Check("vault", ok=True, detail=f"open, {counted(int(answer.get('secrets') or 0), 'secret')}")
    word = (
        "has no passphrase yet" if answer.get("state") == "new" else "locked: calls that need a secret fail"
    )
    return Check("vault", ok=True, warns=True, detail=word, mend="egress vault unlock")


_RESTORE = "mend the broker's database, or restore it from a backup"


def drift(answer: Message, repairs: int) -> Check:
    """Whether the kernel is as netd wants it: netd compares, and tells instead of mending.

    `answer` is {"ok": true, "steps": [text, …]}: what a repair would do.
    """
    name = "rules and links"
    if not answer.get("ok"):
        why = str(answer.get("detail") or answer.get("error"))
        return Check(name, ok=False, detail=f"not compared: {why}", mend="egress down && egress up")
    steps = [str(step) for step in answer.get("steps", ())]
    since = f"{counted(repairs, 'repair')} since netd started"
    if not steps:
        return Check(name, ok=True, detail=f"compared just now: as desired; {since}")
    return Check(
        name,
        ok=False,
        detail=f"{counted(len(steps), 'difference')}: {'; '.join(steps)} ({since})",
        mend="netd repairs within seconds; look who changes it when this comes again",
    )


def repaired(answer: Message) -> Iterator[Check]:
    """What netd mended last, newest first: not wrong any more, but somebody did it.

    `answer` is netd's status; its `recent_repairs` are {"time": RFC 3339, "repair": text}.
    """
    for repair in answer.get("recent_repairs", [])[:SHOWN_REPAIRS]:
        yield Check(f"repaired {repair['time']}", ok=True, detail=str(repair["repair"]))


def fallback(answer: Message) -> Iterator[Check]:
    """Whether anybody is served by Squid, and what was, last.

    `answer` is netd's status; `recent_flips` are {"time": RFC 3339, "flip": text}.
    """
    says = answer.get("fallback")
    if says is None:
        return
    forced = answer.get("fallback_mode", "auto") != "auto"
    yield Check(
        "fallback",
        not forced and not answer.get("fallback_serves"),
        str(says),
        "egress fallback auto" if forced else "mend the workers that it names; it ends when they are ready",
    )
    for flip in answer.get("recent_flips", [])[:SHOWN_REPAIRS]:
        yield Check(f"fallback {flip['time']}", ok=True, detail=str(flip["flip"]))


def _docker(settings: Settings) -> Iterator[Check]:
    try:
        enabled = docker_host.admission_enabled(settings)
        networks = docker_host.networks(settings)
        image = docker_host.has_image(settings, DEFAULT_IMAGE)
    except (docker_host.DockerUnavailable, docker.errors.DockerException, OSError) as error:
        yield Check("Docker", ok=False, detail=str(error), mend="start Docker")
        return
    yield Check(
        "runner image",
        ok=True,  # who brings images of their own needs none of ours
        detail=DEFAULT_IMAGE if image else f"{DEFAULT_IMAGE} is not here; to build it: make images",
    )
    yield Check(
        "admission plugin",
        enabled,
        f"{settings.instance} is asked by the engine" if enabled else "the engine does not ask it",
        f'put "{settings.instance}" into "authorization-plugins" of '
        f"{settings.docker.daemon_json}, then SIGHUP dockerd",
    )
    known = {f.stem for f in settings.tenants_dir.glob("*.yaml")}
    for network in networks:
        ok = network.tenant in known
        yield Check(
            f"network {network.name}",
            ok,
            f"tenant {network.tenant}, {counted(len(network.containers), 'container')}",
            f"egress tenant add {network.tenant} --no-network, or docker network rm {network.name}",
        )

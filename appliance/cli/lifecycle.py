"""`egress up` and `egress down`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click

from appliance import docker_host, preflight
from appliance import settings as settings_module
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, counted, pass_cli
from appliance.cli.status import ask_process, state
from appliance.cli.systemd import keep_off
from appliance.listeners import listening_pid, stop_process
from appliance.processes import SUPERVISOR, processes
from appliance.supervise import stop_leftovers
from appliance.units.render import target_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from appliance import ipc
    from appliance.settings import Settings

UP_WITHIN = 60.0  # seconds
DOWN_WITHIN = 60.0


@click.command()
@pass_cli
def up(cli: Cli) -> None:
    """Start the appliance: namespace, rules, processes, Docker driver and admission plugin.

    Everything is checked before anything is changed; a second `up` while one runs is refused.
    """
    require_root("egress up")
    settings = cli.settings
    keep_off(settings, "start")
    running = listening_pid(str(settings.control_socket(SUPERVISOR)))
    if running is not None:
        raise Failure(
            f"instance {settings.instance!r} is already up (supervisor pid {running}); see: egress status"
        )
    _see_credential(settings)
    problems = [check for check in preflight.before_up(settings) if not check.ok]
    if problems:
        raise Failure("\n".join(f"{p.name}: {p.detail}; {p.mend}" for p in problems))
    _make_directories(settings)
    log_file = settings.log_dir / "supervisor.log"
    with _alone(settings), cli.progress("starting the appliance"):
        child = _spawn_supervisor(log_file)
        _wait_until_ready(settings, child, log_file)
        before_docker = docker_host.starts_after_us(settings)
        changed = False if before_docker else _enable_admission(settings)
    if cli.as_json:
        cli.emit(state(settings))
        return
    if changed:
        cli.say(f"admission plugin {settings.instance!r} added to {settings.docker.daemon_json}")
    cli.say(
        f"{click.style('up', fg='green')}: {len(processes(settings))} processes ready; "
        f"logs in {settings.log_dir}"
    )
    if before_docker:
        cli.say("Docker was waiting for the admission plugin; start it now: systemctl start docker")
    cli.say("next: egress tenant add NAME, then: egress run --tenant NAME -- COMMAND")


def _see_credential(settings: Settings) -> None:
    """Raise `Failure` where the vault's passphrase comes with the broker's unit, and that does not run."""
    file = settings.vault.passphrase_file
    if file is not None and file.is_relative_to(settings_module.CREDENTIALS) and not file.exists():
        raise Failure(
            f"vault.passphrase_file {file}: systemd gives it to the broker's unit alone; run: "
            f"egress units --out /etc; systemctl daemon-reload; systemctl start {target_name(settings)}"
        )


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """No other `up` of this instance at the same time. The kernel forgets the lock with the process."""
    with (settings.run_dir / "up.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failure("another `egress up` is at work; wait for it, then: egress status") from error
        yield


def _enable_admission(settings: Settings) -> bool:
    """Have the engine ask our plugin; when it does not, everything is taken back before the error is told."""
    try:
        return docker_host.enable_admission(settings)
    except (docker_host.DockerUnavailable, OSError):
        with contextlib.suppress(docker_host.DockerUnavailable, OSError):
            docker_host.disable_admission(settings)
        _stop(settings)
        raise


def _make_directories(settings: Settings) -> None:
    for folder in (settings.config_dir, settings.tenants_dir, settings.policies_dir, settings.state_dir,
                   settings.run_dir, settings.log_dir, settings.audit_dir, settings.ca_dir):  # fmt: skip
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(settings.ca_dir, settings.uids.broker, settings.uids.broker)


def _spawn_supervisor(log_file: Path) -> subprocess.Popen[bytes]:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key in ("PATH", "LANG", settings_module.SETTINGS_VARIABLE)
    }
    with log_file.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "appliance.supervise"],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait_until_ready(settings: Settings, child: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline:
        answer = ask_process(settings, SUPERVISOR, {"op": "status"})
        if answer.get("ready"):
            return
        if child.poll() is not None:
            _stop(settings)
            raise Failure(f"the supervisor ended with code {child.returncode}; read why in {log_file}")
        time.sleep(0.1)
    message = not_ready(state(settings)["processes"], log_file)
    _stop(settings)
    raise Failure(message)


def not_ready(answers: dict[str, ipc.Message], log_file: Path) -> str:
    """Who kept `up` waiting, and the last words of the first of them."""
    missing = [name for name, answer in answers.items() if not answer.get("ready") and name != SUPERVISOR]
    if not missing:
        return (
            f"the supervisor was not ready after {UP_WITHIN:.0f} s, though all others were; "
            f"run it again (log: {log_file})"
        )
    return (
        f"not ready after {UP_WITHIN:.0f} s: {', '.join(missing)}; "
        f"{missing[0]}: {_last_words(log_file, missing[0])} (whole log: {log_file})"
    )


def _last_words(log_file: Path, process: str) -> str:
    """The last line that a process wrote into the supervisor's log."""
    mark = f"[{process}] "
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.partition(mark)[2].strip() for line in lines]
    return next((line for line in reversed(words) if line), "it said nothing")


@click.command()
@click.option("--force", is_flag=True, help="Also when containers are attached; they lose their network.")
@pass_cli
def down(cli: Cli, force: bool) -> None:
    """Stop the appliance and remove its namespace, rules and links. Networks and tenants stay defined."""
    require_root("egress down")
    settings = cli.settings
    keep_off(settings, "stop")
    attached: list[str] = []
    try:
        attached = [f"{c} ({n.name})" for n in docker_host.networks(settings) for c in n.containers]
    except docker_host.DockerUnavailable as error:
        cli.say(f"{click.style('docker', fg='yellow')}: {error}")
    if attached and not force:
        raise Failure(
            f"{counted(len(attached), 'container')} attached ({', '.join(attached[:5])}); "
            "stop them or use --force"
        )
    try:
        # Also when the engine just failed to answer: most likely the plugin is configured and down.
        docker_host.disable_admission(settings)
    except docker_host.DockerUnavailable as error:
        cli.say(f"{click.style('docker', fg='yellow')}: {error}")
    with cli.progress("stopping the appliance"):
        _stop(settings)
    if cli.as_json:
        cli.emit({"down": True})
    else:
        cli.say(f"{click.style('down', fg='green')}: nothing of the appliance runs")


def _stop(settings: Settings) -> None:
    pid = listening_pid(str(settings.control_socket(SUPERVISOR)))
    if pid is not None:
        stop_process(pid, within=DOWN_WITHIN)
    stop_leftovers(settings)
    for process in (*[p.name for p in processes(settings)], SUPERVISOR):
        settings.control_socket(process).unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "netns.main", "--teardown"],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
    )
    if done.returncode != 0:
        raise Failure(
            f"the namespace could not be removed: {done.stderr.strip() or done.stdout.strip()}; "
            "mend that, then: egress down"
        )

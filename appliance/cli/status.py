"""`egress status`, and how the other commands ask the processes."""

from __future__ import annotations

from typing import Any

import click

from appliance import ipc
from appliance.cli.output import Cli, harmless, pass_cli
from appliance.cli.systemd import governs
from appliance.processes import SUPERVISOR, processes
from appliance.settings import Settings
from appliance.units.render import target_name

NOT_RUNNING = "not-running"
DOWN = "not running; start it: sudo egress up"
ASK_WITHIN = 10.0  # seconds


def ask_process(settings: Settings, name: str, message: ipc.Message) -> ipc.Message:
    """Answer of a process; {"ok": False, "error": …, "detail": …} when it does not answer.

    Raises `PermissionError` when only root may ask: that says nothing about whether it runs.
    """
    path = settings.control_socket(name)
    try:
        answer: ipc.Message = harmless(ipc.ask(str(path), message, timeout=ASK_WITHIN))
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, str(path)) from error
    except (FileNotFoundError, ConnectionRefusedError):
        return {"ok": False, "error": NOT_RUNNING, "detail": f"{name} does not run"}
    except TimeoutError:
        return {"ok": False, "error": "no-answer", "detail": f"{name} is silent for {ASK_WITHIN:.0f} s"}
    except (OSError, ValueError) as error:
        return {"ok": False, "error": "no-answer", "detail": str(error)}
    return answer


def state(settings: Settings) -> dict[str, Any]:
    """What every process says of itself, by name, and whether all are ready.

    Where systemd is the supervisor, its answer is {"ok": true, "ready": true, "by": name of the target}.
    """
    answers = {
        name: ask_process(settings, name, {"op": "status"})
        for name in (SUPERVISOR, *[p.name for p in processes(settings)])
    }
    if answers[SUPERVISOR].get("error") == NOT_RUNNING and governs(settings):
        answers[SUPERVISOR] = {"ok": True, "ready": True, "by": target_name(settings)}
    return {
        "instance": settings.instance,
        "ready": all(a.get("ready") for a in answers.values()),
        "processes": answers,
    }


def nothing_runs(current: dict[str, Any]) -> bool:
    """Whether no process at all is there."""
    return all(answer.get("error") == NOT_RUNNING for answer in current["processes"].values())


@click.command()
@pass_cli
def status(cli: Cli) -> None:
    """Say what runs and what it serves; exit code 3 when not everything is ready."""
    current = state(cli.settings)
    if cli.as_json:
        cli.emit(current)
    elif nothing_runs(current):
        click.echo(f"instance {cli.settings.instance}: {DOWN}")
    else:
        cli.table(
            ("PROCESS", "STATE", "FACTS"),
            [row(name, answer) for name, answer in current["processes"].items()],
        )
    if not current["ready"]:
        raise SystemExit(3)


def row(name: str, answer: ipc.Message) -> tuple[str, str, str]:
    """One process for a person."""
    if answer.get("ready"):
        word = click.style("ready", fg="green")
    else:
        word = click.style("not ready" if answer.get("ok") else "down", fg="red")
    if not answer.get("ok"):
        return name, word, str(answer.get("detail") or answer.get("error") or "")
    facts = ", ".join(
        f"{key}={value}"
        for key, value in answer.items()
        if key not in ("ok", "ready", "processes") and isinstance(value, (int, str, bool)) and value != ""
    )
    return name, word, facts

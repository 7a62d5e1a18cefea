"""Start the lab's long-running processes and end exactly those, also after the starter was killed.

Each is recorded as pid and start time (proc(5), field 22), so that a pid used again by somebody else is
never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab import internet
from tests.lab.namespaces import LabError, inside

RECORDS = internet.STATE / "processes"
LOGS = internet.STATE / "logs"
READY_SECONDS = 15.0
ROOT = Path(__file__).resolve().parents[2]


def _start_time(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def start(name: str, argv: Sequence[str], namespace: str | None = None) -> int:
    """Start `argv` (in `namespace`), output to the lab's `logs/<name>.log`; returns the pid."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    command = inside(namespace, *argv) if namespace else tuple(argv)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    # nsenter execs its command, so the pid stays the same.
    (RECORDS / f"{name}.json").write_text(
        json.dumps({"pid": process.pid, "started": _start_time(process.pid)})
    )
    process.returncode = 0  # its end is ours to see through the record, not through this object
    return process.pid


def start_module(name: str, module: str, *arguments: str, namespace: str | None = None) -> int:
    """Start one of the lab's own modules with this interpreter."""
    return start(name, (sys.executable, "-m", module, *arguments), namespace)


def alive(name: str) -> bool:
    """Whether the recorded process still runs."""
    try:
        record = json.loads((RECORDS / f"{name}.json").read_text())
    except FileNotFoundError:
        return False
    _reap(record["pid"])
    return record["started"] is not None and _start_time(record["pid"]) == record["started"]


def until_ready(name: str, ready: Callable[[], bool] | None = None, seconds: float = READY_SECONDS) -> None:
    """Wait for a started process until `ready`, or until it says so itself. Raises `LabError` with its last words."""
    log = LOGS / f"{name}.log"
    ready = ready or (lambda: log.exists() and "ready" in log.read_text())
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive(name) or time.monotonic() > deadline:
            said = log.read_text()[-1500:] if log.exists() else "no log"
            raise LabError(f"{name} did not get ready: {said}")
        time.sleep(0.05)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # started by an earlier process of ours
        return


def stop_all(grace: float = 2.0) -> None:
    """End every recorded process: SIGTERM to its session, SIGKILL after `grace` seconds. Safe to repeat."""
    _stop(sorted(RECORDS.glob("*.json")) if RECORDS.is_dir() else [], grace)


def stop(name: str, grace: float = 2.0) -> None:
    """The same for one; nothing where there is none."""
    record = RECORDS / f"{name}.json"
    _stop([record] if record.exists() else [], grace)


def _stop(records: Sequence[Path], grace: float) -> None:
    for record in records:
        if alive(record.stem):
            _signal(record, signal.SIGTERM)
    deadline = time.monotonic() + grace
    for record in records:
        while alive(record.stem) and time.monotonic() < deadline:
            time.sleep(0.02)
        if alive(record.stem):
            _signal(record, signal.SIGKILL)
            while alive(record.stem):
                time.sleep(0.02)
        record.unlink(missing_ok=True)


def _signal(record: Path, number: signal.Signals) -> None:
    pid = json.loads(record.read_text())["pid"]
    try:
        os.killpg(pid, number)  # it leads a session of its own, so this reaches its workers and nobody else
    except ProcessLookupError:
        return

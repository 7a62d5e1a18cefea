"""Finding processes by their sockets and stopping them."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.listeners import listening_pid, stop_process


def listener(path: Path) -> subprocess.Popen[str]:
    """A process that listens on `path` and ignores SIGTERM when its second argument says so."""
    code = (
        "import socket,sys,time,signal\n"
        "if sys.argv[2]=='stubborn': signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up', flush=True); time.sleep(60)"
    )
    stubborn = "stubborn" if path.name.startswith("stubborn") else "meek"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path), stubborn], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.stdout.close()
    return child


def test_the_listener_is_named_by_the_kernel(tmp_path: Path) -> None:
    child = listener(tmp_path / "a.sock")
    try:
        assert listening_pid(str(tmp_path / "a.sock")) == child.pid
    finally:
        child.kill()
        child.wait()
    assert listening_pid(str(tmp_path / "a.sock")) is None
    assert listening_pid(str(tmp_path / "absent.sock")) is None


def test_stop_is_patient_and_then_is_not(tmp_path: Path) -> None:
    meek = listener(tmp_path / "meek.sock")
    stop_process(meek.pid, within=5)
    assert meek.wait(5) == -signal.SIGTERM
    stubborn = listener(tmp_path / "stubborn.sock")
    began = time.monotonic()
    stop_process(stubborn.pid, within=0.3)
    assert stubborn.wait(5) == -signal.SIGKILL
    assert time.monotonic() - began >= 0.3
    stop_process(stubborn.pid)  # gone already: no error


def test_a_socket_that_is_not_ours_to_ask_is_no_dead_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EACCES is not "nobody listens": as another user, `status` must not call a running appliance down."""

    class Closed(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Closed)
    with pytest.raises(PermissionError) as refused:
        listening_pid(str(tmp_path / "a.sock"))
    assert refused.value.filename == str(tmp_path / "a.sock")

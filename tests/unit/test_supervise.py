"""What an earlier supervisor left is stopped, nothing else, and the launcher starts every process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from appliance.listeners import listening_pid
from appliance.processes import processes
from appliance.settings import Settings
from appliance.supervise import launch_command, stop_leftovers


def test_leftovers_of_an_earlier_supervisor_are_stopped(tmp_path: Path) -> None:
    settings = Settings(run_dir=tmp_path, workers=1)
    code = (
        "import socket,sys,time\n"
        "s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(settings.control_socket("resolver"))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.stdout.close()
    assert stop_leftovers(settings) == ["resolver"]
    assert child.wait(5) == -signal.SIGTERM


def test_nothing_of_ours_is_stopped_by_mistake(tmp_path: Path) -> None:
    settings = Settings(run_dir=tmp_path, workers=1)
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(settings.control_socket("broker")))
        ours.listen()
        assert listening_pid(str(settings.control_socket("broker"))) == os.getpid()
        assert stop_leftovers(settings) == []


def test_every_process_is_started_by_the_launcher() -> None:
    for process in processes(Settings()):
        assert launch_command(process)[-2:] == ["netns.launch", process.name]

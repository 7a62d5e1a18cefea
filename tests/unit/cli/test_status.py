"""`egress status`: down, up, half up, and not ours to ask."""

from __future__ import annotations

import errno
import json
import socket
import threading
from pathlib import Path

import click
import pytest

from appliance import ipc
from appliance.cli.status import NOT_RUNNING, ask_process, row
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


def test_down_is_said_once_with_the_mend(egress: Egress) -> None:
    result = egress("status")
    assert result.exit_code == 3
    assert result.output == "instance egressunit: not running; start it: sudo egress up\n"


def test_down_for_a_machine(egress: Egress) -> None:
    result = egress("--json", "status")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["ready"] is False
    assert {a["error"] for a in document["processes"].values()} == {NOT_RUNNING}


def test_another_users_question_is_no_sign_of_death(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES on a 0600 socket: "run as root", never "down"."""

    def closed(path: str, message: ipc.Message, timeout: float) -> ipc.Message:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ipc, "ask", closed)
    refused(egress("status"), "supervisor.sock: Permission denied; run it as root")


def test_a_process_that_answers(settings: Settings) -> None:
    settings.run_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.control_socket("netd")))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'{"ok":true,"ready":true}\n')

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask_process(settings, "netd", {"op": "status"}) == {"ok": True, "ready": True}
        thread.join()
    assert ask_process(settings, "netd", {"op": "status"})["error"] == NOT_RUNNING  # a socket left behind


def test_a_process_that_is_no_process_of_ours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(error: Exception) -> ipc.Message:
        def ask(path: str, message: ipc.Message, timeout: float) -> ipc.Message:
            raise error

        monkeypatch.setattr(ipc, "ask", ask)
        return ask_process(settings, "netd", {"op": "status"})

    assert answer(TimeoutError())["detail"] == "netd is silent for 10 s"
    assert answer(ValueError("answer is no object"))["detail"] == "answer is no object"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"ok": True, "ready": True, "networks": 2, "problem": ""}, ("netd", "ready", "networks=2")),
        ({"ok": True, "ready": False, "problem": "nft"}, ("netd", "not ready", "problem=nft")),
        (
            {"ok": False, "error": NOT_RUNNING, "detail": "netd does not run"},
            ("netd", "down", "netd does not run"),
        ),
    ],
)
def test_a_row_for_a_person(answer: ipc.Message, shown: tuple[str, ...]) -> None:
    assert tuple(click.unstyle(cell) for cell in row("netd", answer)) == shown


def test_a_run_directory_that_is_a_file(egress: Egress, settings: Settings) -> None:
    Path(settings.run_dir).write_text("")
    result = egress("status")
    assert result.exit_code == 3
    assert "Traceback" not in result.output


def test_no_process_steers_the_terminal(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was taken over answers to root."""
    told = {"ok": True, "problem": "\x1b]0;owned\x07", "endpoints": [{"name": "a\x1b[2J", "rate": 1}]}
    monkeypatch.setattr(ipc, "ask", lambda *_, **__: told)
    answer = ask_process(settings, "gateway-0", {"op": "status"})
    assert answer["problem"] == r"\x1b]0;owned\x07"
    assert answer["endpoints"] == [{"name": r"a\x1b[2J", "rate": 1}]

"""The insider says REACHED exactly where a broker does what it should not; these brokers do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.verify import insider

Connection = socket.socket
OK = b"HTTP/1.1 200 OK\r\n\r\nhello from the lab"
NO = b'HTTP/1.1 403 Forbidden\r\n\r\n{"reason":"endpoint-unknown"}'


@contextmanager
def listening(path: Path, serves: Callable[[Connection], None]) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                serves(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield str(path)
        thread.join(5)


def answering(answer: bytes, heard: list[Any]) -> Callable[[Connection], None]:
    def serve(connection: Connection) -> None:
        lines = connection.makefile("rb")
        heard.append(json.loads(lines.readline()))
        heard.append(lines.readline())
        connection.sendall(answer)

    return serve


@pytest.mark.parametrize(
    ("answer", "told"), [(OK, "REACHED 200"), (NO, "refused 403"), (b"", "refused, closed")]
)
def test_an_answer_of_success_is_what_should_not_be(tmp_path: Path, answer: bytes, told: str) -> None:
    heard: list[Any] = []
    with listening(tmp_path / "calls", answering(answer, heard)) as calls:
        spec = {"calls": calls, "request": "GET / HTTP/1.1\r\n\r\n"}
        assert insider.handed_over(spec, {"endpoint": "e"}).startswith(told)
    assert heard == [{"endpoint": "e"}, b"GET / HTTP/1.1\r\n"]


def test_a_word_may_bring_its_own_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Any] = []
    with listening(tmp_path / "calls", answering(NO, heard)) as calls:
        words = {"other": {"tenant": "t", "request": "GET /other HTTP/1.1\r\n\r\n"}}
        insider.call(
            {"calls": calls, "request": "unused", "word": {"tenant": "s", "port": 443}, "words": words}
        )
    assert heard == [{"tenant": "t", "port": 443}, b"GET /other HTTP/1.1\r\n"]
    assert capsys.readouterr().out.startswith("other: refused 403")


@pytest.mark.parametrize("speaks", [True, False])
def test_a_broker_that_speaks_to_whomever_it_is_led_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, speaks: bool
) -> None:
    led, done = threading.Event(), threading.Event()
    elsewhere = socket.create_server(("127.0.0.1", 0))
    port = elsewhere.getsockname()[1]

    def dials(connection: Connection) -> None:
        assert json.loads(connection.recv(100)) == {"worker": insider.WORKER}
        connection.sendall(b'{"op":"find","id":1}\n')
        assert json.loads(connection.recv(100))["addresses"] == ["93.184.215.68"]
        asked = {"op": "dial", "id": 2, "port": port, "addresses": ["93.184.215.68"]}
        connection.sendall(json.dumps(asked).encode() + b"\n")
        _, descriptors, _, _ = socket.recv_fds(connection, 1000, 1)
        with socket.socket(fileno=descriptors[0]) as way:
            if speaks:
                way.sendall(b"\x16\x03\x01")
        led.set()
        done.wait(5)

    def calls(connection: Connection) -> None:
        led.wait(5)
        connection.sendall(NO)
        done.set()

    with (
        elsewhere,
        listening(tmp_path / "dials", dials) as dialling,
        listening(tmp_path / "calls", calls) as calling,
    ):
        insider.dial({
            "dials": dialling, "calls": calling, "found": ["93.184.215.68"], "lead": "127.0.0.1",
            "word": {}, "request": "GET", "unwanted": True, "unheard": True,
        })  # fmt: skip
    said = capsys.readouterr().out
    assert "wants to be connected to ['93.184.215.68']" in said
    assert ("the broker spoke to whom" in said) is speaks

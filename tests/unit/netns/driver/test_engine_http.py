"""HTTP over dockerd's socket: answers, refusals, an engine that went meanwhile, names that are more than names."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.driver.engine_http import EngineError, EngineHTTP, NotFound, path_of


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dockerd

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length", "0"))
        if length:
            self.server.received.append((self.headers["Content-Type"], self.rfile.read(length)))
        status, content, closes = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = closes

    do_POST = do_DELETE = do_GET

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Dockerd(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers with what it is given, in order; `connections` counts."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.path = path
        self.asked: list[str] = []
        self.received: list[tuple[str, bytes]] = []
        self.answers: list[tuple[int, bytes, bool]] = []
        self.connections = 0

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]  # as it came

    def will(self, status: int, content: object, *, closes: bool = False) -> None:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.answers.append((status, text, closes))


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Dockerd]:
    with Dockerd(tmp_path / "d.sock") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(dockerd: Dockerd) -> Iterator[EngineHTTP]:
    made = EngineHTTP(dockerd.path, 2)
    yield made
    made.close()


def test_questions_go_over_one_connection(dockerd: Dockerd, engine: EngineHTTP) -> None:
    dockerd.will(200, [1, 2])
    dockerd.will(204, b"")
    dockerd.will(200, b"OK")
    assert engine.ask("/networks") == [1, 2]
    assert engine.ask("/containers/a/kill", "POST") is None
    assert engine.ask("/_ping?egress-admission=1") is None
    assert dockerd.asked == ["GET /networks", "POST /containers/a/kill", "GET /_ping?egress-admission=1"]
    assert dockerd.connections == 1


def test_a_message_goes_as_json(dockerd: Dockerd, engine: EngineHTTP) -> None:
    dockerd.will(200, {"Warnings": None})
    dockerd.will(200, 1)
    engine.ask("/containers/a/update", "POST", {"RestartPolicy": {"Name": "no"}})
    assert dockerd.received == [("application/json", b'{"RestartPolicy": {"Name": "no"}}')]
    assert engine.ask("/networks") == 1
    assert dockerd.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(dockerd: Dockerd, engine: EngineHTTP) -> None:
    dockerd.will(200, 1, closes=True)
    dockerd.will(200, 2)
    assert engine.ask("/networks") == 1
    assert engine.ask("/networks") == 2
    assert dockerd.connections == 2


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (404, {"message": "No such container: x"}, NotFound, "404: No such container: x"),
        (409, {"message": "is not running"}, EngineError, "409: is not running"),
        (500, b"<html>", EngineError, "500: no reason given"),
        (301, b"", EngineError, "301"),
        (200, b"{", EngineError, "Expecting"),
    ],
)
def test_what_is_no_answer_is_an_error(
    dockerd: Dockerd, engine: EngineHTTP, *, status: int, content: object, kind: type[EngineError], said: str
) -> None:
    dockerd.will(status, content)
    with pytest.raises(EngineError, match=said) as caught:
        engine.ask("/containers/x/json")
    assert type(caught.value) is kind
    dockerd.will(200, {})
    assert engine.ask("/networks") == {}


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No such file"):
        EngineHTTP(tmp_path / "none.sock", 1).ask("/networks")


def test_an_engine_that_is_silent_is_not_waited_for_and_its_connection_is_given_up(
    dockerd: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    monkeypatch.setattr(_Handler, "do_PUT", lambda _handler: silent.wait(5), raising=False)
    engine = EngineHTTP(dockerd.path, 0.1)
    with pytest.raises(EngineError, match="timed out"):
        engine.ask("/networks", "PUT")
    silent.set()
    dockerd.will(200, "asked for")
    assert engine.ask("/networks") == "asked for"
    assert dockerd.connections == 2
    engine.close()


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("abc", "/containers/abc/json"),
        ("../networks", "/containers/..%2Fnetworks/json"),
        ("a?b#c d\r\n", "/containers/a%3Fb%23c%20d%0D%0A/json"),
        ("egress/runner:1@sha256:aa", "/containers/egress%2Frunner:1%40sha256:aa/json"),
    ],
)
def test_a_name_stays_one_name(reference: str, path: str) -> None:
    assert path_of("/containers/{}/json", reference) == path


def test_no_name_is_no_other_path() -> None:
    with pytest.raises(EngineError, match="empty"):
        path_of("/containers/{}/json", "")

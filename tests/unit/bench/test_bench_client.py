"""The client of the loads that wrk does not put: it is built, and says what it was not given."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.bench.ground import DATA
from tests.bench.loads import Load, LoadFailed, parse


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("client") / "load"
    libraries = ("-lssl", "-lcrypto", "-lpthread")
    command = ("gcc", "-Wall", "-Wextra", "-Werror", "-o", str(binary), str(DATA / "load.c"), *libraries)
    subprocess.run(command, check=True, timeout=120)
    return binary


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("churn", "tls", "bench.example.com"),
        ("churn", "tls", "bench.example.com", "no-address", "1", "1"),
        ("unknown", "tls", "bench.example.com", "127.0.0.1", "1", "1"),
        ("paced", "tls", "bench.example.com", "127.0.0.1", "1", "1"),
    ],
)
def test_words_that_make_no_load_are_refused(client: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run((str(client), *words), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr


def test_connections_that_nobody_takes_are_failures(client: Path) -> None:
    words = ("tunnel", "-", "bench.example.com", "127.255.255.254", "2", "1")  # nobody listens there
    done = subprocess.run((str(client), *words), capture_output=True, text=True, timeout=20, check=True)
    with pytest.raises(LoadFailed, match="connect"):
        parse(done.stdout)


def test_a_paced_load_begins_when_its_connections_have_been_asked_once(client: Path) -> None:
    load = paced(client, "50")
    assert load.requests in {50, 51}  # those of the time alone
    assert load.p99_ms < 1000 * FIRST_ANSWER_SECONDS / 2


def test_at_no_pace_each_connection_asks_again_when_it_was_answered(client: Path) -> None:
    load = paced(client, "0", wait=0.05)
    assert CONNECTIONS * 5 <= load.requests <= CONNECTIONS * 20
    assert load.p50_ms >= 50


def paced(client: Path, rate: str, wait: float = 0.0) -> Load:
    """A load of one second; its server takes `wait` for each answer but the first."""
    words = ("paced", "plain", "bench.example.com", "127.0.0.1", str(CONNECTIONS), "1", rate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=_serve, args=(listening, wait))
        serving.start()
        proxy = f"PROXY=127.0.0.1:{listening.getsockname()[1]}"
        done = subprocess.run(
            ("env", proxy, str(client), *words), capture_output=True, text=True, timeout=20, check=True
        )
        serving.join()
    return parse(done.stdout)


CONNECTIONS = 2
FIRST_ANSWER_SECONDS = 0.5


def _serve(listening: socket.socket, wait: float) -> None:
    answering = [
        threading.Thread(target=_answer, args=(listening.accept()[0], wait)) for _ in range(CONNECTIONS)
    ]
    for thread in answering:
        thread.start()
    for thread in answering:
        thread.join()


def _answer(connection: socket.socket, then: float) -> None:
    """A tunnel, and the first answer in it late."""
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        wait = FIRST_ANSWER_SECONDS
        while connection.recv(65536):
            time.sleep(wait)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
            wait = then

"""The text that runs in a container, against a server of the test: what it tells of every kind of answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from appliance.verify.attempts import Attempt, command, raw

TYPED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 20\r\n%b\r\n"
    b'{"reason": "no-way"}'
)


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Every connection goes to `talk` after what it sent first was read, and is closed after that."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        connection.recv(65536)
                        talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def told(*attempts: Attempt, in_turn: bool = True) -> list[str]:
    done = subprocess.run(
        [sys.executable, *command(attempts, in_turn=in_turn)[1:]], capture_output=True, text=True, timeout=30, check=True,
        env={"HTTP_PROXY": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def wait_for_the_client(connection: socket.socket) -> None:
    connection.recv(1)


def sends(
    data: bytes, then: Callable[[socket.socket], None] = lambda _: None
) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        then(connection)

    return talk


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (sends(TYPED % b"Connection: close\r\n"), "403 no-way close"),
        (sends(TYPED % b"Connection: close\r\n", wait_for_the_client), "403 no-way stays-open"),
        (sends(TYPED % b""), "403 no-way keep"),
        (sends(b"HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno"), "403 - keep"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "200 served keep"),
        (sends(b"HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n"), "302 served keep"),
        (sends(b"\x15\x03\x03\x00\x02\x02\x70"), "alert 112"),
        (sends(b"\x16\x03\x03\x00\x02"), "hello"),
        (sends(b""), "closed"),
        (sends(b"+OK redis"), "bytes 2b4f4b20726564"),
        (wait_for_the_client, "silent"),
    ],
)
def test_an_answer_is_told_as_what_it_is(talk, expected) -> None:
    with server(talk) as address:
        attempt = raw("name", b"GET / HTTP/1.1\r\n\r\n", to=address)
        (line,) = told(Attempt(attempt.name, "way", attempt.send, to=address, wait=0.5))
    assert line == f"name way: {expected}"


def test_several_answers_stand_in_one_line_and_bodies_below_where_wanted() -> None:
    two = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na=b\n" + TYPED % b"Connection: close\r\n"
    with server(sends(two)) as address:
        lines = told(Attempt("name", "way", (b"x",), to=address, methods=("GET", "GET"), show=True))
    assert lines == [
        "name way: 200 served keep, 403 no-way close",
        "  | a=b",
        '  | {"reason": "no-way"}',
    ]


def test_a_refused_tunnel_and_a_dead_address_are_told() -> None:
    with server(sends(b"HTTP/1.1 403 no\r\n\r\n")) as address:
        assert told(Attempt("name", "way", (b"x",), to=address, connect="a.net:443")) == [
            "name way: connect 403"
        ]
    assert told(raw("name", b"x"), raw("again", b"x")) == [
        "name proxy: no-connection",
        "again proxy: no-connection",
    ]


def test_an_attempt_that_met_a_limit_is_made_again() -> None:
    answers = [b"HTTP/1.1 429 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", TYPED % b""]
    with server(lambda connection: connection.sendall(answers.pop(0))) as address:
        assert told(raw("name", b"x", to=address)) == [f"name {address[0]}:{address[1]}: 403 no-way keep"]

"""The servers and the record; what is seen on links is tried with the lab (tests/escape/test_live.py)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from appliance.verify.live import canaries
from appliance.verify.live.canaries import Visit, Witness
from appliance.verify.probe import MARK


@pytest.fixture
def witness() -> Iterator[Witness]:
    found = Witness()
    found.serve_host(["127.0.0.1", "127.0.0.2"])
    found.begin()
    yield found
    found.close()
    found.close()


def ask(address: str, port: int, source: str, text: bytes) -> bytes:
    with socket.create_connection((address, port), 5, (source, 0)) as connection:
        connection.sendall(text)
        got = b""
        while data := connection.recv(4096):
            got += data
        return got


def test_every_address_answers_at_one_port_and_remembers_who_asked(witness: Witness) -> None:
    port = witness.host_port
    request = b"GET /x?y HTTP/1.1\r\nhost: A.invalid:80\r\n\r\n"
    assert MARK in ask("127.0.0.1", port, canaries.LOOPBACK, request)
    assert MARK in ask("127.0.0.2", port, "127.0.0.9", b"POST / HTTP/1.0\r\n\r\n")
    assert witness.visits == [
        Visit(True, "127.0.0.1", port, "GET", "a.invalid:80", "/x?y"),
        Visit(False, "127.0.0.2", port, "POST", "", "/"),
    ]


def test_one_who_says_nothing_was_there_all_the_same(witness: Witness) -> None:
    assert ask("127.0.0.1", witness.host_port, "127.0.0.9", b" ") == canaries.PAGE
    socket.create_connection(("127.0.0.2", witness.host_port), 5, ("127.0.0.9", 0)).close()
    assert ask("127.0.0.1", witness.host_port, "127.0.0.9", b"x") == canaries.PAGE
    assert [v.address for v in witness.visits] == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]


def test_a_record_that_nobody_reads_is_no_record(witness: Witness) -> None:
    with pytest.raises(OSError, match="not watched"):
        witness.write(b"\x45")

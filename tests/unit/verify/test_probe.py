from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.verify import probe

TEXT = Path(probe.__file__).read_text()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", TEXT, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.fixture
def server() -> Iterator[str]:
    """A TCP server that greets with the mark, twice at most."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(probe.MARK)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_reached_only_when_the_mark_came_back(server: str) -> None:
    done = run("tcp", "127.0.0.1", server)
    assert (done.returncode, done.stdout[:8]) == (0, "REACHED ")


def test_a_refusal_is_a_line_and_a_status() -> None:
    done = run("tcp", "127.0.0.1", "1")
    assert (done.returncode, done.stdout) == (
        1,
        "REFUSED ConnectionRefusedError: [Errno 111] Connection refused\n",
    )


def test_of_many_attempts_each_has_a_line_and_one_refused_is_enough(server: str) -> None:
    done = run("tcp", "127.0.0.1", server, ",", "tcp", "127.0.0.1", "1")
    first, second = done.stdout.splitlines()
    assert first.startswith(f"tcp 127.0.0.1 {server}: REACHED")
    assert second.startswith("tcp 127.0.0.1 1: REFUSED")
    assert done.returncode == 1


def test_a_query_as_rfc_1035_has_it() -> None:
    query = probe._query("a.bc")
    assert query[2:] == b"\x01\x00\0\1\0\0\0\0\0\0\1a\2bc\0\0\1\0\1"


def test_only_the_decoy_counts_as_an_answer() -> None:
    query = probe._query("a.bc")
    head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    assert probe._answered(head + socket.inet_aton(probe.DECOY), query) == probe.MARK
    with pytest.raises(ConnectionRefusedError, match="another server"):
        probe._answered(head + socket.inet_aton("1.2.3.4"), query)
    with pytest.raises(ConnectionRefusedError, match="rcode 5"):
        probe._answered(query[:2] + b"\x81\x85\0\1\0\0\0\0\0\0", query)


def test_checksum_of_rfc_1071() -> None:
    assert probe._checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


def test_a_fragmented_header_is_one() -> None:
    header = probe._header("1.2.3.4", "5.6.7.8", 17, fragment=0x2000)
    assert (header[0], header[6:8], header[12:16]) == (0x45, b"\x20\0", b"\1\2\3\4")
    assert probe._header("1.2.3.4", "5.6.7.8", 17, options=b"\x83\7\4\1\1\1\1\0")[0] == 0x47

"""appliance.verify.client: what the workload asks and how it reads the answers."""

from __future__ import annotations

import ast
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from appliance.verify import client

TEXT = Path(client.__file__).read_text(encoding="utf-8")


def answer(asked: bytes, *addresses: str) -> bytes:
    response = dns.message.make_response(dns.message.from_wire(asked))
    if addresses:
        response.answer.append(dns.rrset.from_text("a.example.com.", 5, "IN", "A", *addresses))
    return response.to_wire()


def test_it_needs_nothing_but_the_standard_library() -> None:
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(TEXT))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_runs_as_a_text_and_knows_every_way() -> None:
    command = (sys.executable, "-I", "-c", TEXT, "datagrams", json.dumps({"it:": ["127.0.0.1", 9]}))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "it: nothing, ConnectionRefusedError\n"
    assert all(way.__name__ == name and way.__doc__ for name, way in client.WAYS.items())


@pytest.mark.parametrize("kind", ["A", "TXT", "HTTPS", "ANY"])
def test_a_question_is_what_a_name_server_reads(kind: str) -> None:
    message = dns.message.from_wire(client.question("a.Example.com", kind))
    assert message.question[0].to_text() == f"a.Example.com. IN {kind}"


def test_labels_go_out_as_they_are() -> None:
    wire = client.question(f"\xff\x00.{'x' * 64}.com", "A")
    assert wire[12:].startswith(b"\x02\xff\x00\x40" + b"x" * 64)


def test_answers_are_told_with_their_addresses() -> None:
    asked = client.question("a.example.com", "A")
    assert (
        client.answers(answer(asked, "192.0.2.1", "192.0.2.2"), asked)
        == "rcode 0, 2 answers 192.0.2.1 192.0.2.2"
    )
    assert client.answers(answer(asked), asked) == "rcode 0, 0 answers"
    assert "cut off" in client.answers(answer(asked, "192.0.2.1")[:-10], asked)
    assert client.answers(b"", asked) == client.answers(b"\0" * 40, asked) == "no answer to this question"


def test_what_a_refusal_says_of_itself() -> None:
    page = b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n\r\n{"reason": "x-exceeded", "rule": "limits.tenant.x"}'
    assert client.status_of(page) == "429 x-exceeded limits.tenant.x retry-after"
    assert client.status_of(b"HTTP/1.1 200 OK\r\nRetry-After: 0\r\n\r\n{}") == "200 - - -"
    assert client.status_of(b"") == "none - - -"


def test_what_a_server_says_to_odd_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for text in (b"hello", b""):
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(text)

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(2):
            client.speak({"it:": ["127.0.0.1", server.getsockname()[1], "\x16\xff"]})
        thread.join()
    assert capsys.readouterr().out == "it: b'hello'\nit: nothing\n"


def test_a_length_over_an_octet_does_not_stop_the_asking() -> None:
    assert client.question("x" * 300, "A")[12] == 300 & 0xFF
    assert struct.unpack("!2H", client.question("a", "A")[-4:]) == (1, 1)

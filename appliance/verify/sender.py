"""Sends exact bytes and says what came back: one line an attempt, in the standard library alone.

Runs in a container as `python3 -c TEXT PAYLOAD` (see `attempts.py`, which makes the payload and knows what
each line must be). A line is `NAME WAY: ANSWER…`, an answer one of

    403 method-not-allowed keep    an HTTP answer, its reason ("served" below 400, "-" when it has none),
                                   and whether the connection stays
    alert 112                      a fatal TLS alert instead of a handshake
    hello                          a TLS handshake that would go on
    tls WRONG_VERSION_NUMBER       a handshake that failed on this side
    closed, silent, reset          no byte came, and the connection ended, or stayed, or broke off
    no-connection                  TCP itself led nowhere

and behind a 101, after the frames of the attempt were sent, each frame that came: `text a`, `close 1000`.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, cast

AT_ONCE = 8
PACE = 0.0125  # seconds between new connections, and for each further request on one: well below the limits
PATIENCE = 4  # how often an attempt that met a limit is made again

Data = dict[str, Any]


class NoConnectionError(Exception):
    """TCP led nowhere."""


class OverLimitError(Exception):
    """An answer 429: to be tried again."""


class Pace:
    """When the next connection may begin, and where none is to be had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._dead: set[tuple[str, int]] = set()

    def connect(self, address: tuple[str, int], seconds: float, requests: int) -> socket.socket:
        """A connection; a destination that did not answer is not waited for twice."""
        with self._lock:
            now = time.monotonic()
            wait, self._next = self._next - now, max(now, self._next) + PACE * (1 + requests) / 2
        time.sleep(max(0.0, wait))
        if address in self._dead:
            raise NoConnectionError
        try:
            return socket.create_connection(address, seconds)
        except OSError as error:
            self._dead.add(address)
            raise NoConnectionError from error


class Answers:
    """What comes over one connection, in the shape that `http.client` wants of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def makefile(self, _mode: str) -> "Answers":
        """The same for every answer, so that none that was already read is lost."""
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return cast("Callable[..., Any]", getattr(self._file, name))

    def close(self) -> None:
        """`http.client` is done with one answer of several."""

    def first(self, count: int = 1) -> bytes:
        """The next bytes, still to be read; none at the end."""
        return self._file.peek(count)[:count]

    def ended(self) -> bool:
        """Whether nothing more comes."""
        try:
            return not self._file.read(1)
        except ConnectionResetError:
            return True
        except OSError:
            return False


@lru_cache(maxsize=1)
def proxy() -> tuple[str, int]:
    """The explicit proxy that the container was told; its name is asked for once."""
    if "HTTP_PROXY" not in os.environ:
        raise NoConnectionError
    host, _, port = os.environ["HTTP_PROXY"].rpartition("//")[2].strip("/").rpartition(":")
    return socket.gethostbyname(host), int(port)  # noqa: TID251 - the workload's own way to resolve


def open_tunnel(sock: socket.socket, authority: str) -> str:
    """Ask for a tunnel; what was answered instead, or nothing when it is open."""
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return "connect closed"
        head += byte
    status = head.split(b" ", 2)[1].decode("ascii", "replace")
    return "" if status == "200" else f"connect {status}"


@lru_cache
def context_of(trust: str, named: bool, alpn: tuple[str, ...]) -> ssl.SSLContext:  # noqa: FBT001 - part of a key
    """How TLS begins for a client that trusts so much. Kept, for to read all authorities takes 60 ms."""
    if trust == "container":
        context = ssl.create_default_context()
        context.check_hostname = named
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE if trust == "anything" else ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def secure(sock: socket.socket, attempt: Data) -> ssl.SSLSocket:
    """TLS on a connection, by what the attempt trusts."""
    name = attempt["server_name"] or None
    context = context_of(attempt["trust"], name is not None, tuple(attempt["alpn"]))
    return context.wrap_socket(sock, server_hostname=name)


def said(response: http.client.HTTPResponse, body: bytes) -> str:
    """The reason of a refusal of ours."""
    if response.status < 400:
        return "served"
    if response.getheader("Content-Type") != "application/problem+json":
        return "-"
    try:
        return str(json.loads(body or b"{}").get("reason", "-"))
    except ValueError:
        return "-"


def http_answers(stream: Answers, methods: list[str], shown: list[str]) -> str:
    """Every answer to the requests, in their order."""
    told: list[str] = []
    for method in methods:
        if told and not stream.first():
            told.append("closed")
            break
        response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
        response.begin()
        body = response.read()
        if response.status == 429:
            raise OverLimitError
        stays = "keep" if not response.will_close else "close" if stream.ended() else "stays-open"
        told.append(f"{response.status} {said(response, body)} {stays}")
        shown += body.decode("ascii", "backslashreplace").splitlines()
        if response.will_close:
            break
    return ", ".join(told)


def answer(sock: socket.socket, attempt: Data, shown: list[str]) -> str:
    """What comes back."""
    stream = Answers(sock)
    first = stream.first(7)
    if not first:
        return "closed"
    if first[:1] == b"\x15":
        return f"alert {first[6]}" if len(first) == 7 else "alert"
    if first[:1] == b"\x16":
        return "hello"
    if not b"HTTP/".startswith(first[:5]) and first[:5] != b"HTTP/":
        return f"bytes {first.hex()}"
    told = http_answers(stream, attempt["methods"], shown)
    if told.startswith("101 "):
        send(sock, attempt["frames"])
        told = ", ".join([told, *frames(stream)])
    return told


OPCODES = {0: "more", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def frames(stream: Answers) -> list[str]:
    """What a WebSocket brings (RFC 6455 section 5.2), up to its Close or the end of the connection."""
    told: list[str] = []
    try:
        while len(head := stream.read(2)) == 2:
            kind, length = OPCODES.get(head[0] & 15, "reserved"), head[1] & 127
            if length > 125:
                length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
            payload = stream.read(length)
            if kind == "close":
                code = int.from_bytes(payload[:2], "big")
                return [*told, f"close {code} {payload[2:].decode('ascii', 'backslashreplace')}".rstrip()]
            text = payload.decode("ascii", "backslashreplace")
            told.append(f"{kind} {text if length < 126 else f'of {length} octets'}")
    except OSError:
        return [*told, "silent"]
    return [*told, "closed"]


def send(sock: socket.socket, pieces: list[str]) -> None:
    """The bytes, in as many writes as there are pieces."""
    for number, piece in enumerate(pieces):
        if number:
            time.sleep(0.05)
        try:
            sock.sendall(base64.b64decode(piece))
        except (BrokenPipeError, ConnectionResetError):
            return  # enough was heard of it; the answer is still to be read


def once(attempt: Data, pace: Pace, shown: list[str]) -> str:
    """One connection."""
    address = attempt["to"]
    destination = proxy() if address is None else (address[0], address[1])
    sock = pace.connect(destination, attempt["wait"], len(attempt["methods"]))
    with sock:
        sock.settimeout(attempt["wait"])
        if attempt["connect"]:
            refused = open_tunnel(sock, attempt["connect"])
            if refused:
                return refused
        if attempt["server_name"] is None:
            send(sock, attempt["send"])
            return answer(sock, attempt, shown)
        try:
            inside = secure(sock, attempt)
        except ssl.SSLError as error:
            return f"tls {error.reason or type(error).__name__}"
        with inside:
            shown.append(f"protocol={inside.selected_alpn_protocol()} version={inside.version()}")
            send(inside, attempt["send"])
            return answer(inside, attempt, shown)


def tell(attempt: Data, pace: Pace) -> str:
    """The line of an attempt, and below it what was answered where that is to be shown."""
    shown: list[str] = []
    told = "429 over-limit"
    for _ in range(PATIENCE):
        shown.clear()
        try:
            told = once(attempt, pace, shown)
        except OverLimitError:
            time.sleep(1.2)
            continue
        except NoConnectionError:
            told = "no-connection"
        except TimeoutError:
            told = "silent"
        except (ConnectionResetError, BrokenPipeError):
            told = "reset"
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = f"failed {type(error).__name__}"
        break
    line = f"{attempt['name']} {attempt['way']}: {told}"
    return "\n".join([line, *(f"  | {text}" for text in shown if attempt["show"])])


def main() -> int:
    """Command line: the attempts as compressed JSON in base 64, and how many at a time."""
    attempts = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))
    pace = Pace()
    with ThreadPoolExecutor(int(sys.argv[2]) if len(sys.argv) > 2 else AT_ONCE) as pool:
        for text in pool.map(lambda attempt: tell(attempt, pace), attempts):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

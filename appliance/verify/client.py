"""What a workload does beyond single attempts, in the standard library and curl alone.

The text of this module is sent into a container (`python3 -c`); arguments: what to do, and a JSON value that
says to whom; and so on. Every attempt leaves one line, which begins with its own label. What is asked of a
name server or of a web server is written down as data by the rows; here is only how it is asked. It is long
because it is sent as one text: inside a container there is nothing of ours that it could import.
"""

import concurrent.futures
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SECONDS = 6.0
TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SVCB": 64, "HTTPS": 65, "NULL": 10, "ANY": 255}
RESPONSE = 0x8180
REASON = re.compile(rb'"reason": ?"([a-z0-9-]+)"')
RULE = re.compile(rb'"rule": ?"([^"]+)"')


def say(*words: object) -> None:
    """One line, whole, also among threads."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


# ── names ──────────────────────────────────────────────────────────────────────────────────────────────


def name_server() -> str:
    """The one that the container was given."""
    with open("/etc/resolv.conf", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - one import less
        return next(line.split()[1] for line in file if line.startswith("nameserver"))


def question(name: str, kind: str) -> bytes:
    """A query; labels are taken as they are, of any length and any bytes."""
    labels = [label.encode("latin-1") for label in name.split(".")]
    wire = b"".join(struct.pack("B", len(label) & 0xFF) + label for label in labels) + b"\0"
    return os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + wire + struct.pack("!2H", TYPES[kind], 1)


def answers(wire: bytes, asked: bytes) -> str:
    """Return code, number of answers and the addresses among them."""
    if len(wire) < 12 or wire[:2] != asked[:2]:
        return "no answer to this question"
    code, count = wire[3] & 15, struct.unpack("!H", wire[6:8])[0]
    at, found = len(asked), []
    for _ in range(count):
        if len(wire) < at + 12:
            return f"rcode {code}, {count} answers, cut off"
        kind, length = struct.unpack("!2x H 6x H", wire[at : at + 12])
        if kind == TYPES["A"] and length == 4:
            found.append(socket.inet_ntoa(wire[at + 12 : at + 16]))
        at += 12 + length
    return " ".join([f"rcode {code}, {count} answers", *sorted(found)])


def one_question(server: str, transport: str, kind: str, name: str) -> str:
    """What comes of one question."""
    try:
        if transport == "lookup":
            found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)  # noqa: TID251 - as a workload would
            return "found " + " ".join(sorted({str(each[4][0]) for each in found}))
        asked = question(name, kind)
        target = (server or name_server(), 53)
        if transport == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
                endpoint.settimeout(SECONDS)
                endpoint.connect(target)
                endpoint.send(asked)
                return answers(endpoint.recv(65535), asked)
        with socket.create_connection(target, timeout=SECONDS) as stream:
            stream.sendall(struct.pack("!H", len(asked)) + asked)
            reader = stream.makefile("rb")
            size = reader.read(2)
            return answers(reader.read(struct.unpack("!H", size)[0]), asked) if len(size) == 2 else "closed"
    except OSError as error:
        return type(error).__name__


def ask(questions: list[list[str]]) -> None:
    """Each of [label, server ("": the container's own), transport, type, name], all at once."""

    def one(each: list[str]) -> None:
        say(each[0], one_question(*each[1:]))

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, questions))


def wire(messages: dict[str, str]) -> None:
    """Each of label → a message in hexadecimal, its id left out: return code and number of answers."""
    for label, text in messages.items():
        message = os.urandom(2) + bytes.fromhex(text)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.settimeout(0.7)
            endpoint.sendto(message, (name_server(), 53))
            try:
                got = endpoint.recv(65535)
            except OSError as error:
                say(label, type(error).__name__)
                continue
        if got[:2] == message[:2]:
            say(label, f"rcode {got[3] & 15}, {struct.unpack('!H', got[6:8])[0]} answers")
        else:
            say(label, "another id")


def again(spec: list[Any]) -> None:
    """One name [name, how often, seconds between], asked for again and again: all that it ever was."""
    name, count, pause = spec
    seen = set()
    for _ in range(count):
        seen.add(one_question("", "udp", "A", name))
        time.sleep(pause)
    for each in sorted(seen):
        say("ever", each)


def flood(spec: list[Any]) -> None:
    """As many questions as leave in [seconds] for names below [name], no two the same."""
    seconds, name = spec
    end, number = time.monotonic() + seconds, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.connect((name_server(), 53))
        endpoint.setblocking(False)
        while time.monotonic() < end:
            number += 1
            try:
                endpoint.send(question(f"n{number}.{name}", "A"))
            except OSError:
                time.sleep(0.001)
    say("asked", number)


def forge(spec: list[Any]) -> None:
    """Answers that nobody asked for: [name, address], with ids and ports guessed, to all who resolve here."""
    name, address = spec
    proxy = re.sub(r"^.*//|[:/]\d*/?$", "", os.environ["HTTP_PROXY"])
    targets = [name_server(), socket.gethostbyname(proxy)]  # noqa: TID251 - as a workload would
    asked = question(name, "A")
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 3600, 4) + socket.inet_aton(address)
    # A question that brings its own answer along, in the answer section and in the additional one.
    stuffed = asked[:6] + struct.pack("!3H", 1, 0, 1) + asked[12:] + record + record
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(2)
        endpoint.sendto(stuffed, (name_server(), 53))
        try:
            said = f"rcode {endpoint.recv(4096)[3] & 15}"
        except OSError as error:
            said = type(error).__name__
    say("stuffed question:", said)
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        for number in range(2000):
            wire = struct.pack("!6H", number * 33 & 0xFFFF, RESPONSE, 1, 1, 0, 0) + asked[12:] + record
            for target in targets:
                port = 53 if number % 2 else 1024 + (number * 31) % 60000
                try:
                    count += bool(endpoint.sendto(wire, (target, port)))
                except OSError:
                    time.sleep(0.001)
    time.sleep(1)  # forged answers count as questions, of which there are so many a second
    say("forged", count, "answers; then:", one_question("", "udp", "A", name))


def speak(attempts: dict[str, list[Any]]) -> None:
    """Each of label → [address, port, text]: what a TCP server answers to bytes that it may not expect."""

    def one(each: list[Any]) -> str:
        address, port, text = each
        try:
            with socket.create_connection((address, port), timeout=SECONDS) as connection:
                connection.sendall(text.encode("latin-1"))
                connection.shutdown(socket.SHUT_WR)
                return repr(all_of(connection)[:400])
        except OSError as error:
            return f"nothing, {type(error).__name__}"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for label, said in zip(attempts, pool.map(one, attempts.values()), strict=True):
            say(label, "nothing" if said == "b''" else said)


def datagrams(attempts: dict[str, list[Any]]) -> None:
    """Each of label → [address, port]: one datagram and what answers it."""
    for label, (address, port) in attempts.items():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.settimeout(0.6)
            try:
                endpoint.connect((address, port))
                endpoint.send(b"\xc3\x00\x00\x00\x01ping")
                say(label, repr(endpoint.recv(400)))
            except OSError as error:
                say(label, "nothing,", type(error).__name__)


# ── the web ────────────────────────────────────────────────────────────────────────────────────────────


def one_fetch(arguments: list[str]) -> str:
    """Status, and the reason of a refusal or the first words of an answer."""
    command = ["curl", "--silent", "--show-error", "--max-time", "12", "--write-out", r"\n%{http_code}"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    body, _, status = done.stdout.rpartition(b"\n")
    reason = REASON.search(body)
    refused = re.search(rb"CONNECT tunnel failed, response (\d+)", done.stderr)
    if refused:
        return f"{refused[1].decode()} to CONNECT"
    if status == b"000":
        return f"000 {done.stderr[-100:].decode(errors='replace').strip()}"
    return f"{status.decode()} {reason[1].decode() if reason else repr(body[:60])}"


def long(word: str) -> str:
    """`<x*900>` stands for 900 times x: a command has room for little."""
    return re.sub(r"<(\w)\*(\d+)>", lambda found: found[1] * int(found[2]), word)


def fetch(attempts: dict[str, list[str]]) -> None:
    """Each of label → arguments of curl, a few at a time."""
    arguments = [[long(word) for word in words] for words in attempts.values()]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for label, said in zip(attempts, pool.map(one_fetch, arguments), strict=True):
            say(label, said)


def status_of(answer: bytes) -> str:
    """Status, reason and rule of a response, and whether it says when to try again."""
    reason, rule = REASON.search(answer), RULE.search(answer)
    wait = re.search(rb"(?i)\r\nretry-after: *([1-9][0-9]*)\r\n", answer)
    return " ".join(
        [
            answer[9:12].decode("ascii", "replace") or "none",
            reason[1].decode() if reason else "-",
            rule[1].decode(errors="replace") if rule else "-",
            "retry-after" if wait else "-",
        ]
    )


def request(host: str, path: str, further: str = "") -> bytes:
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{further}\r\n".encode()


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    text = b""
    try:
        while piece := connection.recv(65536):
            text += piece
    except OSError:
        pass
    return text


def burst(spec: list[Any]) -> None:
    """[label, host, path, count]: requests in one piece on one connection; how many were answered."""
    label, host, path, count = spec
    with socket.create_connection((host, 80), timeout=SECONDS) as connection:
        connection.sendall(b"".join(request(host, f"{path}{number}") for number in range(count)))
        text = all_of(connection)
    heads = re.split(rb"(?=HTTP/1\.1 \d\d\d )", text)[1:]
    say(label, "first", heads[0][9:12].decode(), "last", status_of(heads[-1]), "answers", len(heads))


def hold(spec: list[Any]) -> None:
    """[label, host, path, count]: connections kept open, then one request on another one."""
    label, host, path, count = spec
    held = [socket.create_connection((host, 80), timeout=SECONDS) for _ in range(count)]
    time.sleep(0.3)  # what the kernel has taken, the gateway has accepted by then
    with socket.create_connection((host, 80), timeout=SECONDS) as connection:
        try:
            connection.sendall(request(host, path))
            say(label, status_of(all_of(connection)))
        except OSError as error:
            say(label, type(error).__name__)
    for each in held:
        each.close()


def rush(spec: list[Any]) -> None:
    """[label, host, count]: connections as fast as they can be had; what those are told that get none."""
    label, host, count = spec
    address = socket.gethostbyname(host)  # noqa: TID251 - as a workload would
    seen: dict[str, int] = {}
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(0.5)
            try:
                connection.connect((address, 80))
                connection.sendall(request(host, "/", "Connection: close\r\n"))
                said = status_of(all_of(connection))
            except OSError as error:
                said = type(error).__name__
        seen[said] = seen.get(said, 0) + 1
    for said, times in seen.items():
        say(label, said, times)


def use_up(spec: list[Any]) -> None:
    """[label, host, path, query bytes, count, path afterwards]: requests until a limit, then one more.

    So slowly that only a limit of amounts is met.
    """
    label, host, path, size, count, after = spec
    said, number = "", 0
    time.sleep(1.0)
    while number < count and "-bytes-" not in f"-{said.partition(' ')[2]}":
        number += 1
        with socket.create_connection((host, 80), timeout=SECONDS) as connection:
            query = f"?n={number}{'x' * size}" if size else ""
            connection.sendall(request(host, path + query, "Connection: close\r\n"))
            said = status_of(all_of(connection))
        time.sleep(0.24)
    say(label, "stopped", said, "after", number)
    with socket.create_connection((host, 80), timeout=SECONDS) as connection:
        connection.sendall(request(host, after, "Connection: close\r\n"))
        say(label, "then", status_of(all_of(connection)))


def keep(spec: list[Any]) -> None:
    """[host, path, seconds, path afterwards]: one connection, asked until another status comes."""
    host, path, seconds, after = spec
    end, first, said, count = time.monotonic() + seconds, "", "", 0
    with socket.create_connection((host, 80), timeout=SECONDS) as connection:
        address = connection.getpeername()[0]
        while time.monotonic() < end and said[:3] == first[:3]:
            connection.sendall(request(host, path))
            answer = connection.recv(65536)
            said, count = status_of(answer), count + 1
            first = first or said
            time.sleep(0.1)
    say("kept: first", first, "last", said, "requests", count)
    with socket.create_connection((address, 80), timeout=SECONDS) as connection:
        connection.sendall(request(host, after, "Connection: close\r\n"))
        say("kept: after", status_of(all_of(connection)))


def drip(spec: list[Any]) -> None:
    """[host, path, seconds]: one answer, read so slowly that it lasts; whether it came to its end."""
    host, path, seconds = spec
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    connection.settimeout(SECONDS)
    connection.connect((host, 80))
    connection.sendall(request(host, path))
    end, got, total = time.monotonic() + seconds, 0, 0
    try:
        while piece := connection.recv(8192):
            got += len(piece)
            if not total:
                size = re.search(rb"(?i)content-length: *(\d+)", piece)
                total = int(size[1]) if size else 0
                say("drip: began", piece[9:12].decode())
            if time.monotonic() > end:
                say("drip: still coming")
                return
            time.sleep(0.05)
        ended = "closed"
    except OSError as error:
        ended = type(error).__name__
    say("drip:", "whole" if got >= total else "cut", ended)


def outlast(spec: list[Any]) -> None:
    """[host, path, name]: what can be had once nothing can be recorded, and that it can be had again.

    Refused requests and broken questions find out: they may be the ones of which the record is lost.
    """
    host, path, name = spec
    address = socket.gethostbyname(host)  # noqa: TID251 - as a workload would

    def asks(method: str, where: str) -> str:
        try:
            with socket.create_connection((address, 80), timeout=SECONDS) as connection:
                connection.sendall(
                    request(host, where, "Connection: close\r\n").replace(b"GET", method.encode())
                )
                return status_of(all_of(connection))
        except OSError as error:
            return type(error).__name__

    def until(status: str) -> str:
        end, said = time.monotonic() + 12, ""
        while not said.startswith(status) and time.monotonic() < end:
            said = asks("POST", path)
            time.sleep(0.2)
        return said

    say("before:", asks("GET", f"{path}-before"))
    say("noticed:", until("503"))
    for _ in range(3):
        one_question("", "udp", "A", "a..b")
    say("web:", asks("GET", path))
    say("name:", one_question("", "udp", "A", name))
    say("again:", until("403"))
    say("after:", asks("GET", f"{path}-after"))


def steady(spec: list[Any]) -> None:
    """[host, path, count, pause]: a look-up and a connection for each request; statuses by count."""
    host, path, count, pause = spec
    seen: dict[str, int] = {}
    for _ in range(count):
        try:
            with socket.create_connection((host, 80), timeout=10) as connection:
                connection.sendall(request(host, path, "Connection: close\r\n"))
                said = status_of(all_of(connection))[:3]
        except OSError as error:
            said = type(error).__name__
        seen[said] = seen.get(said, 0) + 1
        time.sleep(pause)
    say("steady", json.dumps(seen, sort_keys=True))


def greedy(spec: list[Any]) -> None:
    """[host, path, seconds]: eight threads that open, ask and open again, beside a flood of questions."""
    host, path, seconds = spec
    address = socket.gethostbyname(host)  # noqa: TID251 - as a workload would
    end, seen = time.monotonic() + seconds, []

    def work() -> None:
        while time.monotonic() < end:
            try:
                with socket.create_connection((address, 80), timeout=3) as connection:
                    connection.sendall(request(host, path, "Connection: close\r\n"))
                    seen.append(status_of(all_of(connection))[:3])
            except OSError:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    threads.append(threading.Thread(target=flood, args=([seconds, host],)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("greedy", json.dumps({status: seen.count(status) for status in sorted(set(seen))}))


WAYS: dict[str, Callable[[Any], None]] = {
    way.__name__: way
    for way in (ask, again, flood, forge, speak, datagrams, fetch, burst, hold, rush, use_up, keep, drip)
}
WAYS |= {way.__name__: way for way in (outlast, steady, greedy, wire)}


def main() -> int:
    """Each way with what follows it, one after the other."""
    for way, what in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        WAYS[way](json.loads(what))
    return 0


if __name__ == "__main__":
    sys.exit(main())

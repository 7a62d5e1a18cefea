"""Questions that a processor answers in a second: our resolver against dnsmasq, which both ask the same server.

The resolver is its real process with its policy, limits and records, told by a stand-in for netd that two loopback
addresses are containers'. dnsmasq beside it forwards, keeps and logs each question; it judges nothing. Two
loads: names that are kept already, and names that nobody has asked for. Each round puts them on both in turn, and
counts the seconds of the processor that each has used, so that the asker does not count.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.message

from tests.bench.figures import cpu_seconds
from tests.bench.rows import Row

OURS, PEER, UPSTREAM, CONTAINER = "127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.1.2"
PORT = 5399
QUESTIONS = {"kept": 20_000, "new": 4_000}  # a round
KEPT_NAMES = 100
WINDOW = 64  # questions under way
ADDRESS = "151.101.1.10"


def questions(load: str, turn: int) -> list[bytes]:
    """As they go on the wire; each bears its place as its id."""
    count = QUESTIONS[load]
    names = [f"n{place % KEPT_NAMES}.example.net" for place in range(count)]
    if load == "new":
        names = [f"n{place}.t{turn}.example.net" for place in range(count)]
    made = []
    for place, name in enumerate(names):
        query = dns.message.make_query(name, "A", id=place % 65536)
        made.append(query.to_wire())
    return made


def ask(server: str, wires: list[bytes]) -> float:
    """Ask all of them; seconds. Raises `RuntimeError` unless each is answered with the one address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        asker.bind((CONTAINER, 0))
        asker.connect((server, PORT))
        asker.settimeout(2)
        begun, sent, heard = time.monotonic(), 0, 0
        address = socket.inet_aton(ADDRESS)
        while heard < len(wires):
            while sent < len(wires) and sent - heard < WINDOW:
                asker.send(wires[sent])
                sent += 1
            answer = asker.recv(512)
            if not answer.endswith(address) and address not in answer:
                raise RuntimeError(f"{server}: {dns.message.from_wire(answer).to_text()}")
            heard += 1
        return time.monotonic() - begun


@contextmanager
def dnsmasq(address: str, *more: str) -> Iterator[int]:
    """One that serves on `address`; its pid."""
    program = shutil.which("dnsmasq")
    if program is None:
        raise RuntimeError("dnsmasq is not installed; install the package dnsmasq-base")
    argv = (program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--user=root",
            "--pid-file=", f"--port={PORT}", f"--listen-address={address}", "--bind-interfaces", *more)  # fmt: skip
    with _running(subprocess.Popen(argv)) as pid:
        yield pid


@contextmanager
def resolver(directory: Path) -> Iterator[int]:
    """Our process, for one container; its pid."""
    run, config = directory / "run", directory / "etc"
    for made in (run, config / "tenants"):
        made.mkdir(parents=True)
    wide = {"queries_per_second": 1_000_000}
    _write(config / "operator.yaml", {"limits": wide})
    _write(config / "tenants" / "bench.yaml", {"profile": "read-only-web", "limits": wide})
    settings = {
        "run_dir": str(run),
        "config_dir": str(config),
        "log_dir": str(directory / "log"),
        "state_dir": str(directory / "state"),
        "resolver": {"servers": [{"address": UPSTREAM, "port": PORT}], "queries_per_second": 100_000},
    }
    _write(directory / "egress.yaml", settings)
    with ExitStack() as stack:
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp = stack.enter_context(socket.socket())
        control = stack.enter_context(socket.socket(socket.AF_UNIX))
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        udp.bind((OURS, PORT))
        tcp.bind((OURS, PORT))
        control.bind(str(run / "resolver.sock"))
        tcp.listen()
        control.listen()
        given = [each.fileno() for each in (udp, tcp, control)]

        def hand_over() -> None:
            kept = [os.dup(descriptor) for descriptor in given]  # none of them is 3, 4 or 5 itself
            for place, descriptor in enumerate(kept):
                os.dup2(descriptor, 3 + place)

        command = f"LISTEN_PID=$$ exec {sys.executable} -m appliance.resolver.main"
        variables = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "dns-udp:dns-tcp:control"}
        variables["EGRESS_SETTINGS"] = str(directory / "egress.yaml")
        process = subprocess.Popen(
            ("sh", "-c", command),
            env=os.environ | variables,
            close_fds=False,
            preexec_fn=hand_over,  # noqa: PLW1509 - no thread of ours is running yet
        )
        pid = stack.enter_context(_running(process))
        stack.enter_context(_netd(run / "netd.sock"))
        yield pid


def _write(file: Path, document: dict[str, Any]) -> None:
    file.write_text(json.dumps(document))
    file.chmod(0o644)


@contextmanager
def _netd(path: Path) -> Iterator[None]:
    """Tells whoever subscribes of the one container."""
    endpoint = {"id": "bench", "network": "bench", "tenant": "bench", "address": CONTAINER, "interface": "lo",
                "ifindex": socket.if_nametoindex("lo")}  # fmt: skip
    snapshot = {"type": "snapshot", "generation": 1, "endpoints": [endpoint]}

    def serve() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.sendall(json.dumps(snapshot).encode() + b"\n")
            while peer.recv(4096):
                pass

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        threading.Thread(target=serve, daemon=True).start()
        yield


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[int]:
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(rounds: int) -> list[Row]:
    """Ours over dnsmasq's, for both loads."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        stack.enter_context(dnsmasq(UPSTREAM, f"--address=/example.net/{ADDRESS}", "--local-ttl=3600"))
        log = Path(directory) / "dnsmasq.log"
        forward = (f"--server={UPSTREAM}#{PORT}", "--cache-size=10000", "--dns-forward-max=1000",
                   "--log-queries", f"--log-facility={log}")  # fmt: skip
        peers = {
            OURS: stack.enter_context(resolver(Path(directory))),
            PEER: stack.enter_context(dnsmasq(PEER, *forward)),
        }
        for server in peers:
            _wait(server)
        for turn in range(rounds):
            for load in QUESTIONS:
                wires = questions(load, turn)
                for server, pid in peers.items():
                    before = cpu_seconds([pid])
                    seconds = ask(server, wires)
                    spent = cpu_seconds([pid]) - before
                    found.setdefault((load, server), []).append((spent / len(wires), seconds / len(wires)))
    return [_row(load, found[load, OURS], found[load, PEER]) for load in QUESTIONS]


def _wait(server: str) -> None:
    for _ in range(100):
        try:
            ask(server, questions("kept", 0)[:KEPT_NAMES])
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{server} answers no question")


def _row(load: str, ours: list[tuple[float, float]], peer: list[tuple[float, float]]) -> Row:
    raw: dict[str, Any] = {"questions": QUESTIONS[load] * len(ours)}
    for name, found in (("ours", ours), ("dnsmasq", peer)):
        raw[f"{name}_processor_us"] = round(statistics.median(each for each, _ in found) * 1e6, 1)
        raw[f"{name}_per_second"] = round(1 / statistics.median(each for _, each in found))
    ratio = raw["dnsmasq_processor_us"] / max(raw["ours_processor_us"], 0.1)
    why = "dnsmasq is C and judges neither a name nor an address"
    return Row(
        f"questions a processor answers in a second, {load} names: resolver / dnsmasq",
        ratio,
        None,
        "up",
        raw,
        why,
    )


if __name__ == "__main__":
    for row in measure(3):
        print(row.as_json())

"""The real process with its sockets handed over as the launcher does, and netd, resolver and broker played."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from loopback import read_answer
from origin import Authority

from appliance.ipc import ask
from appliance.links import link_mark
from appliance.tls.authority import issue_intermediate, issue_root, new_key

SHIM = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
ACME = {
    "id": "e1", "network": "n1", "tenant": "acme", "address": "127.0.0.1", "interface": "t-e1", "ifindex": 7,
}  # fmt: skip


class Neighbour(threading.Thread):
    """A Unix socket that answers JSON lines by a function; `delay` holds the answers back until it is set."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._answer = answer
        self.peers = []
        self.heard = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, peer.makefile("rw") as lines:
            try:
                for line in lines:
                    message = json.loads(line)
                    self.heard.append(message)
                    self.may_answer.wait(20)
                    answer = self._answer(message)
                    if answer is not None:
                        lines.write(json.dumps(answer) + "\n")
                        lines.flush()
            except (OSError, ValueError):
                return

    def tell(self, message):
        for peer in self.peers:
            peer.sendall(json.dumps(message).encode() + b"\n")

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in self.peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


class Site:
    def __init__(self, directory):
        self.directory = directory
        (directory / "etc" / "tenants").mkdir(parents=True)
        (directory / "limits").mkdir()
        (directory / "etc" / "tenants" / "acme.yaml").write_text("profile: read-only-web\n")
        settings = {
            "config_dir": str(directory / "etc"), "run_dir": str(directory), "log_dir": str(directory / "log"),
            "upstream_ca": str(Authority().write(directory / "ca.pem")),
        }  # fmt: skip
        (directory / "egress.yaml").write_text(json.dumps(settings))
        self.root_key = new_key()
        self.root = issue_root(self.root_key, "test", datetime.now(UTC))
        self.netd = Neighbour(directory / "netd.sock", self._netd)
        self.resolver = Neighbour(directory / "resolver.sock", lambda m: {"ok": False, "id": m["id"], "reason": "name-does-not-exist", "detail": "no"})  # fmt: skip
        self.broker = Neighbour(directory / "broker.sock", self._broker)
        self.tenants = socket.create_server(("127.0.0.1", 0), backlog=64)
        # What is accepted bears the listener's mark: here, that of the one container's link.
        self.tenants.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", link_mark(ACME["id"])))
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(str(directory / "gateway-0.sock"))
        self.control.listen()
        self.process = None

    def _netd(self, message):
        if message.get("op") == "subscribe":
            return {"type": "snapshot", "generation": 1, "endpoints": [ACME]}
        return None

    def _broker(self, message):
        assert message["op"] == "sign-intermediate"
        request = x509.load_pem_x509_csr(message["csr"].encode())
        certificate = issue_intermediate(self.root, self.root_key, request, "test", datetime.now(UTC))
        return {
            "ok": True,
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "root": self.root.public_bytes(Encoding.PEM).decode(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }

    def start(self, passed=("tenants", "control")):
        def place():
            # First free numbers above what may be overwritten, then down to 3 and 4.
            high = [os.dup(sock.fileno()) for sock in (self.tenants, self.control)]
            for number, descriptor in enumerate(high, 3):
                os.dup2(descriptor, number)
                os.set_inheritable(number, True)

        self.process = subprocess.Popen(
            [sys.executable, "-c", SHIM, "-m", "appliance.gateway.main", "--worker", "0"],
            env=os.environ | {
                "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": ":".join(passed),
                "EGRESS_SETTINGS": str(self.directory / "egress.yaml"),
            },
            preexec_fn=place,  # noqa: PLW1509 - dup2 and nothing else
            close_fds=False, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def status(self):
        return ask(str(self.directory / "gateway-0.sock"), {"op": "status"})

    def until(self, condition):
        deadline = time.monotonic() + 20
        while True:
            try:
                status = self.status()
            except OSError:
                status = {}
            if condition(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def get(self, host, path="/"):
        sock = socket.create_connection(self.tenants.getsockname(), 10)
        with sock:
            sock.sendall(
                f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            return read_answer(sock)

    def records(self, kind):
        lines = [
            line
            for file in (self.directory / "log").rglob("*.jsonl")
            for line in file.read_bytes().split(b"\n")
        ]
        return [r for r in (json.loads(line) for line in lines if line.strip(b"\0")) if r["kind"] == kind]

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stderr.close()
        for neighbour in (self.netd, self.resolver, self.broker):
            neighbour.close()
        self.tenants.close()
        self.control.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_from_start_to_drained(site) -> None:
    site.broker.may_answer.clear()
    site.start()
    status = site.until(lambda status: status.get("netd"))
    assert status["ready"] is False
    with socket.create_connection(site.tenants.getsockname(), 5) as early:
        early.sendall(
            b"GET http://gateway.egress.internal/.well-known/egress/ca.pem HTTP/1.1\r\nHost: gateway.egress.internal\r\n\r\n"
        )
        early.settimeout(0.5)
        with pytest.raises(TimeoutError):
            early.recv(10)
        site.broker.may_answer.set()
        early.settimeout(10)
        assert read_answer(early).body == site.root.public_bytes(Encoding.PEM)
    status = site.until(lambda status: status.get("ready"))
    assert (status["worker"], status["endpoints"], status["policy_error"]) == (0, 1, None)
    assert {"type": "ack", "generation": 1} in site.netd.heard

    answer = site.get("nowhere.site-under-test.net")
    assert (answer.status, answer.reason) == (502, "name-does-not-exist")

    (site.directory / "etc" / "tenants" / "acme.yaml").write_text("profile: allowlist\n")
    before = status["policy"]
    site.until(lambda status: status["policy"] != before)
    assert site.get("nowhere.site-under-test.net").reason == "host-not-listed"
    (site.directory / "etc" / "tenants" / "acme.yaml").write_text("profile: nonsense\n")
    site.until(lambda status: status["policy_error"])
    assert site.get("nowhere.site-under-test.net").reason == "host-not-listed"

    site.netd.tell({"type": "update", "generation": 2, "added": [], "removed": ["e1"]})
    site.until(lambda status: status["endpoints"] == 0)
    with pytest.raises(ConnectionError):
        site.get("nowhere.site-under-test.net")

    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(10) == 0
    assert [record["event"] for record in site.records("lifecycle")] == [
        "started",
        "policy-reloaded",
        "policy-reloaded",
        "stopped",
    ]
    assert site.records("connection")[-1]["reason"] == "source-unknown"


def test_drain_by_control_socket(site) -> None:
    site.start()
    site.until(lambda status: status.get("ready"))
    answer = ask(str(site.directory / "gateway-0.sock"), {"op": "drain"})
    assert answer["ok"] is True
    assert site.process.wait(10) == 0


def test_without_its_sockets_it_says_what_is_missing(site) -> None:
    site.start(passed=("control",))
    assert site.process.wait(10) == 1
    assert "no tenants socket was passed" in site.process.stderr.read()


def test_without_a_trust_store_it_names_the_file(site) -> None:
    (site.directory / "ca.pem").unlink()
    site.start()
    assert site.process.wait(10) == 1
    assert "ca.pem" in site.process.stderr.read()


@pytest.mark.parametrize(("away", "ends"), [(0, False), (1, True)], ids=["the same", "another"])
def test_a20_a_worker_in_another_namespace_than_netds_ends_at_once_to_be_started_anew(
    site, away, ends
) -> None:
    site.start()
    site.until(lambda status: status.get("ready"))
    announced = os.stat("/proc/self/ns/net").st_ino + away  # noqa: PTH116 - procfs
    site.netd.tell({"type": "snapshot", "generation": 2, "endpoints": [ACME], "namespace": announced})
    if ends:
        assert site.process.wait(5) == 0
    else:
        site.until(lambda _status: {"type": "ack", "generation": 2} in site.netd.heard)
        assert site.status()["ready"]

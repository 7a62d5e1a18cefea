"""The fallback's process as the launcher starts it: own uid, no capability, its neighbours on Unix sockets."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance import ipc
from appliance.listeners import is_zombie
from appliance.processes import BUNDLE_PORT
from appliance.settings import NameServer, Settings
from appliance.tls.authority import issue_intermediate
from squid.child import forget_memory
from squid.place import place_of
from squid.supervise import SILENT
from tests.system.squid.conftest import (
    GATEWAY,
    LIST_POLICY,
    LIST_TENANT,
    STRANGER,
    UID,
    WEB_POLICY,
    WEB_TENANT,
    Entered,
    World,
)

pytestmark = pytest.mark.system

PROXY = ("-x", f"http://{GATEWAY}:3128")


def endpoint(number, tenant, address):
    return {
        "id": f"{number}" * 64, "network": "f" * 64, "tenant": tenant, "address": address, "interface": f"t-{number}",
        "ifindex": number, "container": f"c{number}", "name": f"n{number}", "run": "",
    }  # fmt: skip


def network(tenant, address):
    return {"tenant": tenant, "pool": f"{address}/32"}


class Neighbour:
    """A Unix socket that answers JSON lines; `push` sends to everybody who is connected."""

    def __init__(self, path, answer):
        self._answer, self._peers = answer, []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        path.chmod(0o666)
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def push(self, message):
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sendall(json.dumps(message).encode() + b"\n")

    def _accept(self):
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            self._peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, peer.makefile("rb") as lines:
            for line in lines:
                if (answer := self._answer(json.loads(line))) is not None:
                    peer.sendall(json.dumps(answer).encode() + b"\n")


class Supervised(World):
    """The world with our process in it."""

    def start(self):
        self.directory.chmod(0o755)
        for name in (
            "run",
            "run/squid",
            "log",
            "log/audit",
            "log/audit/squid",
            "etc",
            "etc/tenants",
            "state",
        ):
            (self.directory / name).mkdir(mode=0o755)
        for name in ("run/squid", "log/audit/squid"):
            os.chown(self.directory / name, UID, UID)
        (self.directory / "run/squid").chmod(0o700)
        (self.directory / "lab.pem").write_bytes(self.lab_root.public_bytes(Encoding.PEM))
        (self.directory / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
        self.policy("web", WEB_POLICY)
        self.policy("listed", LIST_POLICY)
        settings = {
            "run_dir": f"{self.directory}/run", "log_dir": f"{self.directory}/log", "config_dir": f"{self.directory}/etc",
            "state_dir": f"{self.directory}/state", "upstream_ca": f"{self.directory}/lab.pem",
            "uplink": {"address": "10.88.0.2/30", "peer": "10.88.0.1"},
            "resolver": {"servers": [{"address": "10.88.0.1"}]},
        }  # fmt: skip
        (self.directory / "egress.yaml").write_text(json.dumps(settings))
        self.generation = 1
        self.endpoints = [endpoint(1, "web", WEB_TENANT), endpoint(2, "listed", LIST_TENANT)]
        self.networks = [network("web", WEB_TENANT), network("listed", LIST_TENANT)]
        self.signed = 0
        self.netd = Neighbour(self.directory / "run/netd.sock", self._netd)
        self.stack.callback(self.netd.close)
        self.broker = Neighbour(self.directory / "run/broker.sock", self._broker)
        self.stack.callback(self.broker.close)
        control = socket.socket(socket.AF_UNIX)
        control.bind(str(self.directory / "run/squid.sock"))
        control.listen()
        with Entered(self.inside):
            bundle = socket.create_server(("0.0.0.0", BUNDLE_PORT))
        environment = {"PATH": os.environ["PATH"], "EGRESS_SETTINGS": str(self.directory / "egress.yaml"),
                       "LISTEN_FDS": "2", "LISTEN_FDNAMES": "control:bundle"}  # fmt: skip
        command = (
            "ip", "netns", "exec", self.inside, "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
            "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "bash", "-c",
            f'exec 3<&0 4<&{bundle.fileno()} </dev/null; LISTEN_PID=$$ exec "$0" -I -m squid.main', sys.executable,
        )  # fmt: skip
        self.output = (self.directory / "process.log").open("wb")
        self.stack.callback(self.output.close)
        self.process = subprocess.Popen(
            command, env=environment, stdin=control, stdout=self.output, stderr=self.output, cwd="/",
            pass_fds=[bundle.fileno()],
        )  # fmt: skip
        control.close()
        bundle.close()
        self.stack.callback(self._stop)
        self.until(lambda: self.status().get("ready"))

    def _stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait(5)

    def _netd(self, message):
        if message.get("op") == "subscribe":
            return {
                "type": "snapshot", "generation": self.generation, "endpoints": self.endpoints,
                "networks": self.networks,
            }  # fmt: skip
        return None

    def _broker(self, message):
        self.signed += 1
        request = x509.load_pem_x509_csr(message["csr"].encode())
        made = issue_intermediate(self.root, self.root_key, request, "test", datetime.now(UTC))
        return {
            "ok": True, "certificate": made.public_bytes(Encoding.PEM).decode(),
            "root": self.root.public_bytes(Encoding.PEM).decode(), "not_after": made.not_valid_after_utc.isoformat(),
        }  # fmt: skip

    def policy(self, tenant, text):
        (self.directory / f"etc/tenants/{tenant}.yaml").write_text(text)

    def status(self):
        try:
            return ipc.ask(str(self.directory / "run/squid.sock"), {"op": "status"}, timeout=2)
        except (OSError, ValueError):
            return {}

    def until(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                self.status(),
                (self.directory / "process.log").read_text()[-3000:],
            )
            assert self.process.poll() is None, (self.directory / "process.log").read_text()[-3000:]
            time.sleep(0.05)

    def fetches(self, client, url="https://www.example.com/"):
        return self.curl(client, *PROXY, url)[1] == 200

    def records(self):
        found = []
        for file in sorted((self.directory / "log/audit/squid").glob("*.jsonl")):
            found += [json.loads(line) for line in file.read_bytes().split(b"\n") if line.strip(b"\0 ")]
        return found

    def squid_pid(self):
        return int((self.directory / "run/squid/squid.pid").read_text())


@pytest.fixture(scope="module")
def world():
    directory = Path(f"/run/egress-squid-test-{secrets.token_hex(3)}")
    directory.mkdir(mode=0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        place = place_of(Settings(run_dir=directory / "run"), (NameServer(address="10.88.0.1"),))
        stack.callback(
            forget_memory, f"{place.service}{UID}"
        )  # where the last test kills all, nobody else does
        built = Supervised(stack, directory)
        built.up()
        built.start()
        yield built


def test_serves_with_a_certificate_of_the_broker_and_holds_no_privilege(world):
    assert world.fetches(WEB_TENANT)
    assert world.fetches(LIST_TENANT)
    for pid in (world.process.pid, world.squid_pid()):
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["Uid"].split() == [str(UID)] * 4
        assert {status[key] for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
    key = (world.directory / "run/squid/signing.pem").stat()
    assert (key.st_uid, key.st_mode & 0o777) == (UID, 0o600)


def test_each_request_is_on_record_with_its_caller_and_reason(world):
    world.curl(WEB_TENANT, *PROXY, "https://www.example.com/recorded?key=hidden")
    world.curl(WEB_TENANT, *PROXY, "-d", "x", "https://www.example.com/posted")
    world.curl(LIST_TENANT, *PROXY, "https://other.example.net/never")

    def seen():
        requests = [r for r in world.records() if r["kind"] == "request"]
        return {
            (r["tenant"], r["container"], r["method"], r["host"], r["path"], r["outcome"], r["reason"])
            for r in requests
        }

    wanted = {
        ("web", "c1", "GET", "www.example.com", "/recorded", "allowed", "allowed-by-fallback"),
        ("web", "c1", "POST", "www.example.com", "/posted", "denied", "method-not-allowed"),
        ("listed", "c2", "CONNECT", "other.example.net", "-", "denied", "host-not-listed"),
    }  # fmt: skip
    world.until(lambda: wanted <= seen(), 5)
    assert "hidden" not in json.dumps(world.records())


def test_a_changed_policy_is_in_force_without_a_restart(world):
    pid = world.squid_pid()
    world.policy("web", WEB_POLICY.replace("bad.example.com", "www.example.com"))
    world.until(lambda: not world.fetches(WEB_TENANT))
    world.policy("web", WEB_POLICY)
    world.until(lambda: world.fetches(WEB_TENANT))
    assert world.squid_pid() == pid


def test_a_network_that_comes_and_one_that_goes(world):
    assert not world.fetches(STRANGER)
    update = {"type": "update", "added": [], "removed": []}
    for networks, served in (([*world.networks, network("web", STRANGER)], True), (world.networks, False)):
        world.generation += 1
        world.netd.push({**update, "generation": world.generation, "networks": networks})
        world.until(lambda wanted=served: world.fetches(STRANGER) is wanted)


def test_a_container_that_comes_or_goes_makes_squid_read_nothing_anew(world):
    configuration = world.directory / "run/squid/squid.conf"
    before = configuration.stat().st_mtime_ns
    world.generation += 1
    newcomer = endpoint(4, "web", STRANGER)
    world.netd.push({"type": "update", "generation": world.generation, "added": [newcomer], "removed": []})
    world.until(lambda: world.status()["endpoints"] == 3)
    time.sleep(0.6)  # two looks
    assert configuration.stat().st_mtime_ns == before


def test_hands_out_the_root_that_its_callers_must_trust(world):
    request = b"GET /.well-known/egress/ca.pem HTTP/1.1\r\nHost: gateway.egress.internal\r\n\r\n"
    with Entered(world.inside):
        caller = socket.create_connection(("127.0.0.1", BUNDLE_PORT), timeout=3)
    with caller:
        caller.sendall(request)
        received = b""
        while chunk := caller.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith((world.directory / "root.pem").read_bytes())


def test_a_broken_policy_keeps_the_last_good_one_G2(world):
    world.policy("web", "profile: [broken\n")
    time.sleep(1)
    assert world.fetches(WEB_TENANT)
    assert not world.fetches(WEB_TENANT, "http://bad.example.com/")
    world.policy("web", WEB_POLICY)


def test_it_does_not_serve_by_rules_that_are_not_those_in_force(world):
    assert world.fetches(WEB_TENANT)
    in_the_way = world.directory / "run/squid/squid.conf.new"
    in_the_way.mkdir()
    world.policy("web", WEB_POLICY.replace("bad.example.com", "www.example.com"))
    world.until(lambda: world.status().get("problem"))
    assert not world.status()["ready"]
    world.until(lambda: world.curl(WEB_TENANT, *PROXY, "https://www.example.com/")[1] == 0)
    in_the_way.rmdir()
    world.until(lambda: world.status()["ready"])
    assert not world.fetches(WEB_TENANT)
    world.policy("web", WEB_POLICY)
    world.until(lambda: world.fetches(WEB_TENANT))


def test_a_killed_squid_comes_back(world):
    pid = world.squid_pid()
    os.kill(pid, signal.SIGKILL)
    world.until(lambda: not world.status()["ready"], 5)
    world.until(lambda: world.status()["ready"] and world.squid_pid() != pid)
    assert world.fetches(WEB_TENANT)


def test_a_squid_that_hangs_is_noticed_told_and_started_anew(world):
    pid = world.squid_pid()
    os.kill(pid, signal.SIGSTOP)
    world.until(lambda: not world.status()["ready"], 15)
    assert world.status()["problem"] == SILENT
    world.until(lambda: world.status()["ready"] and world.squid_pid() != pid)
    assert world.status()["problem"] == ""
    assert is_zombie(pid)
    assert [r["subject"] for r in world.records() if r.get("event") == "fallback-silent"] == ["squid"]
    assert world.fetches(WEB_TENANT)
    # What asks whether it answers is no request of anybody.
    assert not [r for r in world.records() if r.get("host") == "heartbeat.invalid"]


def test_with_its_process_ends_its_squid(world):
    """Last: what is left running would serve by a policy that nobody keeps current."""
    pid = world.squid_pid()
    world.process.kill()
    world.process.wait(15)
    deadline = time.monotonic() + 5
    while not is_zombie(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_zombie(pid)
    with pytest.raises(OSError, match="refused"):
        world.raw(WEB_TENANT, GATEWAY, 3128, b"x")

"""Squid as it will run: own uid, no capability, in a namespace behind real containers' links, before a closed outside.

Three namespaces of this test's own, joined by links of their own; none has a route to the host's uplink. The
outside has a web server (plain and TLS), a name server, and canaries at addresses that must never be reached.
"""

import http.server
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.names import HostName
from appliance.policy.set import PolicySet
from appliance.tls.authority import issue_intermediate, issue_leaf, issue_root, new_key, signing_request
from netns import namespaces
from squid.child import forget_memory, is_listening
from squid.model import fallback_of
from squid.render import GENERATOR, LEAVES_SIZE, Place, form_script, pages, render, target_script
from tests.unit.policy.written import compiled

UID = 64104
WWW, OTHER = "93.184.216.34", "93.184.216.35"
PRIVATE, METADATA = "10.0.1.5", "169.254.169.254"
GATEWAY = "10.9.0.1"
WEB_TENANT, LIST_TENANT, STRANGER = "10.9.0.2", "10.9.0.18", "10.9.0.34"
NAMES = {
    "www.example.com": WWW, "api.example.com": WWW, "files.example.org": WWW, "bad.example.com": WWW,
    "other.example.net": OTHER, "rebound.example.net": PRIVATE, "meta.example.net": METADATA,
    "www2.example.com": WWW,
}  # fmt: skip
WEB_POLICY = "profile: read-only-web\nrules:\n  - {name: no, effect: deny, hosts: [bad.example.com]}\n"
LIST_POLICY = """
profile: allowlist
rules:
  - {name: www, hosts: [www.example.com], query: any}
  - {name: files, hosts: ['*.example.org'], paths: [/simple/**], schemes: [http, https]}
limits: {container: {connections: 8}}
"""


def run(*command, timeout=20):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"
    return done.stdout


class Origin(http.server.BaseHTTPRequestHandler):
    """Answers anything and remembers the request line and fields."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append(
            (self.server.label, self.command, self.path, dict(self.headers.items()), body)
        )
        reply = json.dumps({"path": self.path, "server": self.server.label}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


class World:
    """The namespaces, the outside and Squid."""

    def __init__(self, stack, directory):
        self.stack, self.directory = stack, directory
        self.tag = secrets.token_hex(2)
        self.inside, self.outside = f"sq{self.tag}g", f"sq{self.tag}i"
        self.clients = {}
        self.seen = []
        self.asked = []
        self.process = None
        now = datetime.now(UTC)
        self.lab_key, self.root_key = new_key(), new_key()
        self.lab_root, self.root = (
            issue_root(self.lab_key, "lab", now),
            issue_root(self.root_key, "test", now),
        )

    def up(self):
        for name in (self.inside, self.outside, *(f"sq{self.tag}{c}" for c in "abc")):
            run("ip", "netns", "add", name)
            self.stack.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._link((self.inside, "uplink", "10.88.0.2/30"), (self.outside, "outer", "10.88.0.1/30"))
        run("ip", "-n", self.inside, "route", "add", "default", "via", "10.88.0.1")
        for letter, address in zip("abc", (WEB_TENANT, LIST_TENANT, STRANGER), strict=True):
            name = f"sq{self.tag}{letter}"
            self.clients[address] = name
            self._link((self.inside, f"t-{letter}", None), (name, "eth0", f"{address}/32"))
            run("ip", "-n", self.inside, "route", "add", f"{address}/32", "dev", f"t-{letter}")
            run("ip", "-n", name, "route", "add", GATEWAY, "dev", "eth0")
            run("ip", "-n", name, "route", "add", "default", "via", GATEWAY)
        run("ip", "-n", self.inside, "route", "add", "local", "10.9.0.0/24", "dev", "lo")
        for address in (*{*NAMES.values()}, "8.8.8.8"):
            run("ip", "-n", self.outside, "addr", "add", f"{address}/32", "dev", "lo")
        self._steer()
        self._serve()

    def _link(self, near, far):
        (ours, name, address), (theirs, peer, peer_address) = near, far
        run("ip", "-n", ours, "link", "add", name, "type", "veth", "peer", "name", peer, "netns", theirs)
        for namespace, link, value in ((ours, name, address), (theirs, peer, peer_address)):
            if value:
                run("ip", "-n", namespace, "addr", "add", value, "dev", link)
            run("ip", "-n", namespace, "link", "set", link, "up")

    def _steer(self):
        to = "10.88.0.2"
        rules = f"""
        table ip fallback {{
          chain steer {{
            type nat hook prerouting priority dstnat;
            iifname "t-*" ip daddr {GATEWAY} tcp dport 3128 dnat to {to}:15101
          }}
        }}
        """
        subprocess.run(
            ("ip", "netns", "exec", self.inside, "nft", "-f", "-"),
            input=rules,
            text=True,
            check=True,
            timeout=20,
        )

    def _serve(self):
        with Entered(self.outside):
            for address in (WWW, OTHER, PRIVATE, METADATA):
                self._web(address, 80, None)
                self._web(address, 443, self._tls())
            names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            names.bind(("10.88.0.1", 53))
        threading.Thread(target=self._answer_names, args=(names,), daemon=True).start()
        self.stack.callback(names.close)

    def _web(self, address, port, context):
        server = http.server.ThreadingHTTPServer((address, port), Origin)
        server.seen, server.label = self.seen, f"{address}:{port}"
        server.daemon_threads = True
        server.handle_error = lambda *_: None
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)

    def _tls(self):
        contexts = {}
        now = datetime.now(UTC)
        key = new_key()
        issuer = issue_intermediate(self.lab_root, self.lab_key, signing_request(key), "lab", now)
        for name in NAMES.keys() - {"www2.example.com"}:
            leaf_key = new_key()
            leaf = issue_leaf(issuer, key, leaf_key.public_key(), HostName(name), now)
            file = self.directory / f"origin-{secrets.token_hex(4)}.pem"
            file.write_bytes(
                _pem_key(leaf_key) + leaf.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM)
            )
            contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[name].load_cert_chain(file)
        first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        first.load_cert_chain(file)

        def choose(connection, name, _context):
            if name in contexts:
                connection.context = contexts[name]

        first.sni_callback = choose
        return first

    def _answer_names(self, listening):
        import dns.message
        import dns.rrset

        while True:
            try:
                wire, sender = listening.recvfrom(4096)
            except OSError:
                return
            question = dns.message.from_wire(wire)
            name = question.question[0].name.to_text(omit_final_dot=True).lower()
            self.asked.append(name)
            answer = dns.message.make_response(question)
            if name in NAMES and question.question[0].rdtype == 1:
                answer.answer.append(
                    dns.rrset.from_text(question.question[0].name, 60, "IN", "A", NAMES[name])
                )
            try:
                listening.sendto(answer.to_wire(), sender)
            except OSError:  # closed meanwhile
                return

    def place(self):
        folder = PurePosixPath(self.directory)
        return Place(
            IPv4Address("10.88.0.2"),
            15101,
            folder,
            folder / "lab.pem",
            (IPv4Address("10.88.0.1"),),
            chained=True,
            access_log=folder / "access.log",
            log=folder / "cache.log",
        )

    def start(self, web=WEB_POLICY, listed=LIST_POLICY):
        place = self.place()
        policies = PolicySet({"web": compiled(web), "listed": compiled(listed)}, "g1")
        pools = {"web": (IPv4Network("10.9.0.0/28"),), "listed": (IPv4Network("10.9.0.16/28"),)}
        Path(place.configuration).write_text(render(fallback_of(policies, pools), place))
        Path(place.target_script).write_text(target_script())
        Path(place.form_script).write_text(form_script())
        Path(place.upstream_ca).write_bytes(self.lab_root.public_bytes(Encoding.PEM))
        Path(place.pages).mkdir()
        for name, text in pages().items():
            Path(place.pages, name).write_text(text)
        key = new_key()
        issuer = issue_intermediate(self.root, self.root_key, signing_request(key), "test", datetime.now(UTC))
        signing = Path(place.signing)
        signing.touch(mode=0o600)
        signing.write_bytes(_pem_key(key) + issuer.public_bytes(Encoding.PEM))
        (self.directory / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
        run("chown", "-R", f"{UID}:{UID}", self.directory)
        run(*self._as_squid(GENERATOR, "-c", "-s", str(place.leaves), "-M", LEAVES_SIZE))
        run(*self._as_squid("squid", "-k", "parse", "-f", str(place.configuration)))
        self.process = subprocess.Popen(
            self._as_squid("squid", "-n", place.service, "-N", "-f", str(place.configuration)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.stack.callback(self._stop)
        deadline = time.monotonic() + 15
        while not is_listening((15101,), Path(f"/proc/{self.process.pid}/net/tcp")):
            assert self.process.poll() is None, (self.process.stderr.read(), self._log())
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.05)

    def _stop(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stderr.close()
        forget_memory(self.place().service)

    def _log(self):
        file = self.directory / "cache.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _as_squid(self, *command):
        return (
            "ip", "netns", "exec", self.inside, "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
            "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", *command,
        )  # fmt: skip

    def curl(self, client, *arguments):
        """(exit status, HTTP status, body) of curl in a client's namespace."""
        command = (
            "ip", "netns", "exec", self.clients[client], "curl", "-sS", "-m", "8", "--noproxy", "", "--cacert",
            str(self.directory / "root.pem"), "-o", "-", "-w", "\n%{http_code}", *arguments,
        )  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=15,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), body + done.stderr

    def raw(self, client, address, port, payload, seconds=3):
        """What a client gets for bytes of its own."""
        with Entered(self.clients[client]):
            connection = socket.create_connection((address, port), timeout=seconds)
        with connection:
            connection.sendall(payload)
            received = b""
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                pass
        return received


class Entered:
    """This thread in a namespace, and back."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        namespaces.enter(self._name)

    def __exit__(self, *_):
        import ctypes

        assert ctypes.CDLL(None).setns(self._home, 0x40000000) == 0
        os.close(self._home)


def _pem_key(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def world():
    directory = Path(f"/run/egress-squid-test-{secrets.token_hex(3)}")
    directory.mkdir(mode=0o700)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        built = World(stack, directory)
        built.up()
        built.start()
        yield built

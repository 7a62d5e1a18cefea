"""A gateway namespace, a closed outside with live canaries, and containers as Docker would place them.

Everything lies in namespaces of this test's own; none has a route to the host's uplink. The "container" is a
namespace into which the container's end of a link is moved, as dockerd does.
"""

import json
import os
import secrets
import select
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance import settings as settings_module
from appliance.processes import FIRST_WORKER_PORT, Listener, SocketKind
from netns import namespaces
from netns.kernel import Kernel
from netns.listening import open_listener
from netns.naming import container_interface
from netns.plumbing import Attachment, Network
from netns.teardown import teardown

PUBLIC = "93.184.216.34"
PRIVATE = "10.0.1.5"
METADATA = "169.254.169.254"
NAME_SERVER = "10.0.0.53"
CANARY_PORT = 8080
IP_PKTINFO = 8
HOST_ON_INTERNET = "100.99.1.2"
DOCKERS_CHAINS = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _until_carried(name):
    """Until the kernel has looked after a link, which is later when there is much to do, it carries nothing."""
    deadline = time.monotonic() + 5
    while json.loads(run("ip", "-n", name, "-j", "link", "show", "eth0"))[0]["operstate"] != "UP":
        assert time.monotonic() < deadline, name
        time.sleep(0.01)


class Loop:
    """Serves sockets in a thread until closed; `seen` is what reached them."""

    def __init__(self, answer):
        self.seen = []
        self._answer = answer
        self._sockets = []
        self._stop_read, self._stop_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, listening):
        self._sockets.append(listening)

    def start(self):
        self._thread.start()

    def close(self):
        if not self._thread.is_alive():
            return
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        for item in self._sockets:
            item.close()
        for end in (self._stop_read, self._stop_write, self._wake_read, self._wake_write):
            os.close(end)

    def close_sockets(self):
        """Stop serving and free the ports, for a process that serves them itself."""
        self.close()
        self._sockets.clear()

    def drop(self, which):
        """Close some of the sockets, as when their process dies."""
        gone = [item for item in self._sockets if which(item)]
        self._sockets = [item for item in self._sockets if item not in gone]
        os.write(self._wake_write, b"x")
        self._dropped.wait(5)
        for item in gone:
            item.close()

    def _run(self):
        while True:
            ready, _, _ = select.select([*self._sockets, self._stop_read, self._wake_read], [], [], 30)
            if self._wake_read in ready:
                os.read(self._wake_read, 1)
                self._dropped.set()
                continue
            if self._stop_read in ready:
                return
            for item in ready:
                self._serve(item)

    def _serve(self, listening):
        if listening.type == socket.SOCK_DGRAM:
            data, ancillary, _, sender = listening.recvmsg(2048, 256)
            asked = next(
                (v[8:12] for lev, t, v in ancillary if (lev, t) == (socket.SOL_IP, IP_PKTINFO)), None
            )
            self.seen.append(("udp", data, sender, asked and socket.inet_ntoa(asked)))
            packet_info = [(socket.SOL_IP, IP_PKTINFO, bytes(4) + asked + bytes(4))] if asked else []
            listening.sendmsg([b"answer:" + data], packet_info, 0, sender)
            return
        connection, sender = listening.accept()
        with connection:
            self.seen.append(("tcp", connection.getsockname(), sender, listening.getsockname()[1]))
            connection.sendall(self._answer(connection, listening))


class Container:
    """A namespace with the container's end of one link."""

    def __init__(self, namespace, attachment, live, gateway):
        self.namespace = namespace
        self.attachment = attachment
        self.live = live
        self.gateway = gateway
        self.address = str(attachment.address)

    def socket(self, kind=socket.SOCK_STREAM, protocol=0, family=socket.AF_INET, wait=3.0):
        with namespaces.entered(self.namespace):
            opened = socket.socket(family, kind, protocol)
        opened.settimeout(wait)
        return opened

    def tcp(self, host, port, wait=3.0):
        """What the other end said, or the error."""
        with self.socket(wait=wait) as opened:
            try:
                opened.connect((host, port))
                return json.loads(opened.recv(2048))
            except (OSError, ValueError) as error:
                return error

    def udp(self, host, port, data=b"ask", wait=3.0):
        with self.socket(socket.SOCK_DGRAM, wait=wait) as opened:
            opened.connect((host, port))
            try:
                opened.send(data)
                return opened.recv(2048)
            except OSError as error:
                return error


class Rig:
    run = staticmethod(run)

    def __init__(self, stack, tmp_path):
        self._stack = stack
        self.tag = secrets.token_hex(3)
        self.outside = f"nout{self.tag}"
        self.settings = settings_module.Settings.model_validate(
            {
                "instance": f"nt{self.tag}",
                "run_dir": str(tmp_path / "run"),
                "uplink": {"peer_namespace": self.outside},
                "docker": {"socket": str(tmp_path / "no-docker.sock")},
            }
        )
        self.name_servers = ((IPv4Address(NAME_SERVER), 53),)
        self.canary = Loop(lambda *_: b'"canary"')
        self.workers = Loop(self._answer)
        self._containers = 0

    def _answer(self, connection, listening):
        said = {"destination": connection.getsockname(), "worker": listening.getsockname()[1]}
        return json.dumps(said).encode()

    def in_gateway(self, *command):
        return run("ip", "netns", "exec", self.settings.namespace, *command)

    def make_outside(self):
        self.namespace(self.outside)
        for address in (PUBLIC, PRIVATE, METADATA, NAME_SERVER):
            run("ip", "-n", self.outside, "address", "add", f"{address}/32", "dev", "lo")
        with namespaces.entered(self.outside):
            for address in (PUBLIC, PRIVATE, METADATA):
                self._canary(address, CANARY_PORT, socket.SOCK_STREAM)
                self._canary(address, CANARY_PORT, socket.SOCK_DGRAM)
            self._canary(NAME_SERVER, 53, socket.SOCK_STREAM)
            self._canary(NAME_SERVER, 53, socket.SOCK_DGRAM)
        self.canary.start()
        self._stack.callback(self.canary.close)

    def _canary(self, address, port, kind):
        opened = socket.socket(socket.AF_INET, kind)
        opened.bind((address, port))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        self.canary.add(opened)

    def namespace(self, name):
        run("ip", "netns", "add", name)
        self._stack.callback(namespaces.remove, name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def kernel(self):
        made = Kernel(self.settings, lambda: self.name_servers)
        self._stack.callback(made.close)
        return made

    def start_gateway(self):
        self._stack.callback(teardown, self.settings)
        made = self.kernel()
        made.start()
        uids = self.settings.uids
        with namespaces.entered(self.settings.namespace):
            for index in range(self.settings.workers):
                worker = Listener(f"w{index}", SocketKind.TPROXY_TCP, port=FIRST_WORKER_PORT + index)
                self.workers.add(socket.socket(fileno=open_listener(worker, uids.gateway)))
            for kind in (SocketKind.TPROXY_TCP, SocketKind.TPROXY_UDP):
                self.workers.add(
                    socket.socket(fileno=open_listener(Listener("dns", kind, port=53), uids.resolver))
                )
        self.workers.start()
        self._stack.callback(self.workers.close)
        return made

    def network(self, tenant="acme", third=0):
        pool = IPv4Network(f"172.31.{third}.0/24")
        return Network(secrets.token_hex(32), tenant, pool, pool[1])

    def attachment(self, network, host=2):
        address = network.pool[host]
        mac = "02:42:" + ":".join(f"{x:02x}" for x in address.packed)
        return Attachment(secrets.token_hex(32), network.id, network.tenant, address, mac)

    def container(self, kernel, network, host=2):
        attachment = self.attachment(network, host)
        live = kernel.attach(attachment)
        self._containers += 1
        name = f"nc{self.tag}{self._containers}"
        self.namespace(name)
        end = container_interface(live.interface)
        run("ip", "link", "set", end, "netns", name, "name", "eth0")
        run(
            "ip",
            "-n",
            name,
            "address",
            "add",
            f"{attachment.address}/{network.pool.prefixlen}",
            "dev",
            "eth0",
        )
        run("ip", "-n", name, "link", "set", "eth0", "up")
        _until_carried(name)
        run("ip", "-n", name, "route", "add", "default", "via", str(network.gateway))
        return Container(name, attachment, live, str(network.gateway))

    def control(self):
        """A namespace beside the appliance, straight to the outside: what the canaries answer it is the control."""
        name = f"nk{self.tag}"
        self.namespace(name)
        run(
            "ip",
            "-n",
            name,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "ctl",
            "netns",
            self.outside,
        )
        for where, link, address in ((name, "eth0", "100.99.0.2/30"), (self.outside, "ctl", "100.99.0.1/30")):
            run("ip", "-n", where, "address", "add", address, "dev", link)
            run("ip", "-n", where, "link", "set", link, "up")
        run("ip", "-n", name, "route", "add", "default", "via", "100.99.0.1")
        return Container(name, Attachment("", "", "", IPv4Address("100.99.0.2"), ""), None, "100.99.0.1")

    def gateway_socket(self, kind=socket.SOCK_STREAM, wait=3.0):
        with namespaces.entered(self.settings.namespace):
            opened = socket.socket(socket.AF_INET, kind)
        opened.settimeout(wait)
        return opened


@pytest.fixture
def rig(tmp_path):
    with ExitStack() as stack:
        made = Rig(stack, tmp_path)
        made.make_outside()
        yield made


@pytest.fixture
def kernel(rig):
    return rig.start_gateway()


@pytest.fixture
def container(rig, kernel):
    network = rig.network()
    kernel.add_network(network)
    return rig.container(kernel, network)


@pytest.fixture
def host(rig, tmp_path):
    """A namespace that stands for the host: Docker's chains, and a link to the outside with the canaries."""
    name = f"nhost{rig.tag}"
    rig.namespace(name)
    rig.run(
        "ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "hst", "netns", rig.outside
    )
    for where, link, address in (
        (name, "eth0", f"{HOST_ON_INTERNET}/30"),
        (rig.outside, "hst", "100.99.1.1/30"),
    ):
        rig.run("ip", "-n", where, "address", "add", address, "dev", link)
        rig.run("ip", "-n", where, "link", "set", link, "up")
    rig.run("ip", "-n", name, "route", "add", "default", "via", "100.99.1.1")
    rules = tmp_path / "docker.rules"
    rules.write_text(DOCKERS_CHAINS)
    rig.run("ip", "netns", "exec", name, "iptables-restore", str(rules))
    return name

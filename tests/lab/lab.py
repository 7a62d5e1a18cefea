"""The closed Internet as one object: put up, proved closed, proved alive, taken down."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.verify import probe
from tests.lab import (
    canary,
    certificates,
    children,
    internet,
    nameserver,
    namespaces,
    packages,
    web,
    witness,
)
from tests.lab.evidence import forget, lines
from tests.lab.namespaces import LabError, inside, run

SETTLE_SECONDS = 5.0
DISCARD_PORT = 9  # RFC 863
BRIDGE = "docker0"
GATEWAY = "egresslab"  # the appliance instance whose uplink ends in the lab
PROBE = Path(probe.__file__)
HTTP_TEXT = "GET / HTTP/1.0\\r\\n\\r\\n"


def host_addresses() -> dict[str, str]:
    """Every IPv4 address of the host but loopback, with its interface."""
    listing = json.loads(run("ip", "-j", "-4", "addr"))
    return {
        entry["local"]: link["ifname"]
        for link in listing
        for entry in link.get("addr_info", [])
        if link["ifname"] != "lo" and entry.get("local")
    }


@contextmanager
def exclusive(wait_seconds: float) -> Iterator[None]:
    """Hold the host's one lab. Raises `LabError` when another process still has it after the wait."""
    deadline = time.monotonic() + wait_seconds
    with internet.LOCK.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"another process uses the lab (it holds {internet.LOCK}); stop it first"
                    ) from None
                time.sleep(0.2)
            else:
                break
        yield


class Lab:
    """Context manager over the whole lab; only one exists on a host at a time (others wait for the lock).

    Who holds the lock already (see `exclusive`) says so, and keeps it afterwards.
    """

    def __init__(self, wait_seconds: float = 600, *, locked: bool = False) -> None:
        self._wait_seconds = wait_seconds
        self._locked = locked
        self._lock = ExitStack()
        self.host_addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def authority(self) -> Path:
        """The lab's certificate authority, PEM: what the appliance must trust upstream."""
        return certificates.AUTHORITY

    @property
    def bridge_address(self) -> str | None:
        """The host's address on Docker's default bridge, where the host canary listens."""
        return next((a for a, link in self.host_addresses.items() if link == BRIDGE), None)

    def attach(self) -> Self:
        """Use a lab that is up already (`python -m tests.lab up`) without owning it."""
        self.host_addresses = host_addresses()
        return self

    def up(self) -> None:
        """Put everything up, after removing what an earlier lab left. Raises `LabError`; leaves nothing then."""
        if not self._locked:
            self._lock.enter_context(exclusive(self._wait_seconds))
        try:
            clear()
            self._put_up()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Remove everything. Safe to repeat."""
        clear()
        self._lock.close()

    def _put_up(self) -> None:
        forget()
        self.host_addresses = host_addresses()
        internet.STATE.mkdir(parents=True)
        canary.DIRECTORY.mkdir()
        namespaces.create()
        self.assert_closed()
        certificates.write_all()
        packages.write_all()
        web.write()
        nameserver.write()
        children.start_module("witness", "tests.lab.witness", namespace=internet.INTERNET)
        children.start("nginx", web.command(), internet.INTERNET)
        children.start("dnsmasq", nameserver.command(), internet.INTERNET)
        children.start_module("rebind", "tests.lab.rebind", namespace=internet.INTERNET)
        children.start_module("githttp", "tests.lab.githttp", namespace=internet.INTERNET)
        children.start_module("liar", "tests.lab.liar", namespace=internet.INTERNET)
        self._start_canaries()
        self._wait_ready()

    def _start_canaries(self) -> None:
        addresses = [*internet.CANARY_ADDRESSES, *internet.CANARY_ADDRESSES_6, *self.host_addresses]
        children.start_module(
            "canary", "tests.lab.canary", f"--log={canary.LOG}", *(f"--address={a}" for a in addresses),
            *(f"--tcp={p}" for p in internet.CANARY_TCP_PORTS), *(f"--udp={p}" for p in internet.CANARY_UDP_PORTS),
            namespace=internet.INTERNET,
        )  # fmt: skip
        children.start_module(
            "other-ports", "tests.lab.canary", f"--log={canary.LOG}", f"--address={internet.WWW.address}",
            *(f"--tcp={p}" for p in internet.ALLOWED_HOST_CANARY_PORTS), namespace=internet.INTERNET,
        )  # fmt: skip
        if self.bridge_address:
            # The one listener outside the lab's namespaces: on the bridge alone, and bounded in time.
            children.start_module(
                "host-canary", "tests.lab.canary", f"--log={canary.HOST_LOG}", f"--address={self.bridge_address}",
                f"--tcp={internet.HOST_CANARY_PORT}", f"--udp={internet.HOST_CANARY_PORT}", "--lifetime=1800",
            )  # fmt: skip

    def _wait_ready(self) -> None:
        wanted: dict[str, Callable[[], bool] | None] = {
            "witness": None,
            "canary": None,
            "other-ports": None,
            "liar": None,
            "nginx": lambda: self.fetch(internet.WWW.name, internet.WWW.address).returncode == 0,
            "dnsmasq": lambda: internet.WWW.address in self.dig(internet.WWW.name),
            "githttp": lambda: (
                self.fetch(
                    internet.GIT.name, internet.GIT.address, "/greeting.git/info/refs?service=git-upload-pack"
                ).returncode
                == 0
            ),
        }
        if self.bridge_address:
            wanted["host-canary"] = None
        for name, ready in wanted.items():
            children.until_ready(name, ready)

    def assert_closed(self) -> None:
        """No lab namespace leads to the host or past it. Raises `LabError` naming the opening.

        Lab namespaces may be linked to each other, and the Internet to the gateway's namespace.
        """
        ours = frozenset(namespaces.existing())
        for name in sorted(ours):
            peers = ours | {GATEWAY} if name == internet.INTERNET else ours
            openings = namespaces.openings(name, peers)
            if openings:
                raise LabError(f"the lab is not closed: {name}: {'; '.join(openings)}")

    # ---- the control: clients that are attached to the Internet directly

    def probe(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The stimulus's own client, run by the control."""
        command = inside(internet.CONTROL, "/usr/bin/python3", str(PROBE), *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def probe_host(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same client on the host itself, to the canary on the bridge's address.

        From loopback, a source that no packet from a link can have (and that Docker's NAT leaves alone).
        """
        command = ("/usr/bin/python3", str(PROBE), *arguments)
        environment = {"PATH": os.environ["PATH"], "PROBE_SOURCE": "127.0.0.1"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, env=environment
        )

    def fetch(
        self, host: str, address: str, path: str = "/", *options: str
    ) -> subprocess.CompletedProcess[str]:
        """curl by the control, over TLS, the name given by hand."""
        command = inside(
            internet.CONTROL, "curl", "--silent", "--show-error", "--fail", "--max-time", "10", "--noproxy", "*",
            "--cacert", str(self.authority), "--resolve", f"{host}:443:{address}", *options, f"https://{host}{path}",
        )  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def dig(self, name: str, server: str = internet.DNS_SERVER, *options: str) -> list[str]:
        """Short answer lines of kdig by the control."""
        command = inside(
            internet.CONTROL, "kdig", "+short", "+timeout=2", "+retry=1", *options, f"@{server}", name, "A"
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return [line for line in done.stdout.split() if not line.startswith(";")]

    def settle(self) -> None:
        """Wait until all that arrived so far is on record: a marked packet of ours has come through behind it.

        The same for the web server's record. Raises `LabError` when one of them has stopped.
        """
        mark = secrets.token_hex(8)
        with namespaces.socket_in(internet.CONTROL, socket.SOCK_DGRAM) as datagram:
            datagram.sendto(mark.encode(), (internet.LITERAL, DISCARD_PORT))
        with namespaces.socket_in(internet.CONTROL, socket.SOCK_STREAM) as stream:
            stream.settimeout(SETTLE_SECONDS)
            stream.connect((internet.OTHER.address, 80))
            stream.sendall(f"GET /{mark} HTTP/1.0\r\nHost: {internet.OTHER.name}\r\n\r\n".encode())
            with suppress(OSError):
                stream.recv(4096)
        wanted = mark.encode().hex()
        waiting: dict[str, Callable[[], bool]] = {
            "the packet witness": lambda: any(
                line["payload"] == wanted for line in reversed(lines(witness.LOG))
            ),
            "the web server's record": lambda: any(
                line["uri"] == f"/{mark}" for line in reversed(lines(web.ACCESS_LOG))
            ),
        }
        deadline = time.monotonic() + SETTLE_SECONDS
        for name, arrived in waiting.items():
            while not arrived():
                if time.monotonic() > deadline:
                    raise LabError(f"{name} has stopped")
                time.sleep(0.01)


def remove_containers() -> None:
    """Remove containers that a lab started, known by their label."""
    if shutil.which("docker") is None:
        return
    found = run("docker", "ps", "-aq", "--filter", f"label={internet.CONTAINER_LABEL}", check=False).split()
    if found:
        run("docker", "rm", "-f", *found, check=False, timeout=60)


def clear() -> None:
    """Remove whatever a lab left, by record and by prefix. Safe to repeat, also when there is nothing."""
    remove_containers()
    with suppress(FileNotFoundError):
        children.stop_all()
    namespaces.remove()
    shutil.rmtree(internet.STATE, ignore_errors=True)
    if internet.RUNTIME.is_dir() and not any(internet.RUNTIME.iterdir()):
        internet.RUNTIME.rmdir()

"""The proxies that one could pick instead, each with the same duty as far as it can: rules and a line a request."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from cryptography.hazmat.primitives import serialization

from appliance.tls import authority
from tests.bench.ground import (
    DATA,
    EXPLICIT_PORT,
    HOSTS,
    PROXY_CPU,
    WORK,
    Way,
    by_redirect,
    by_tproxy,
    knowing,
    pinned,
)
from tests.bench.loads import Seat
from tests.bench.origin import SITE
from tests.lab import certificates, children, internet
from tests.lab.namespaces import inside, run

ENVIRONMENTS = Path(os.environ.get("BENCH_ENVIRONMENTS", "/var/tmp/egress-bench"))
"""Virtual environments of peers that PyPI carries: one a peer, for their versions of libraries differ from ours."""


BY_CONNECT = " by CONNECT"
SERVICE = "egressbench"
"""Names the shared memory of the Squid that is compared."""


class PeerMissing(RuntimeError):
    """A peer is not installed, or does not start here; `str()` says what it said."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know about a peer before it runs.

    `program` with `arguments` starts it ({work} is its directory, {config} its rendered configuration);
    `version` is asked for with, and matched out of what is said; `by_name`: it is asked as a proxy;
    `hangs_up`: see `loads.Seat`.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    config: str
    version: tuple[str, ...]
    environment: str = ""
    by_name: bool = False
    hangs_up: bool = False
    intercept: Callable[[], str] = by_tproxy
    prepare: Callable[[Path], None] = lambda work: None

    def executable(self) -> str:
        """Where the program is. Raises `PeerMissing`."""
        place = str(ENVIRONMENTS / self.environment / "bin") if self.environment else None
        found = shutil.which(self.program, path=place)
        if found is None:
            raise PeerMissing(f"{self.program} is not installed")
        return found


def _squid(work: Path) -> None:
    for left in Path("/dev/shm").glob(f"{SERVICE}-*.shm"):  # by one that was killed: the next would not start
        left.unlink()
    key = authority.new_key()
    root = authority.issue_root(key, "bench", datetime.now(UTC))
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (work / "signing.pem").write_bytes(root.public_bytes(pem) + key.private_bytes(pem, *plain))
    run("/usr/lib/squid/security_file_certgen", "-c", "-s", str(work / "leaves"), "-M", "16MB")
    run("chown", "-R", "proxy:proxy", str(work))


def _tinyproxy(work: Path) -> None:
    (work / "filter").write_text(f"^{re.escape(SITE.name)}$\n")


SQUID = Kind("squid", "squid", ("-N", "-n", SERVICE, "-f", "{config}"), "squid.conf", ("-v",), prepare=_squid)
ENVOY = Kind(
    "envoy", "envoy", ("-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "warning"),
    "envoy.yaml", ("--version",), environment="envoy",
)  # fmt: skip
HAPROXY = Kind("haproxy", "haproxy", ("-db", "-f", "{config}"), "haproxy.cfg", ("-v",))
TINYPROXY = Kind(
    "tinyproxy", "tinyproxy", ("-d", "-c", "{config}"), "tinyproxy.conf", ("-v",), by_name=True, hangs_up=True,
    prepare=_tinyproxy
)  # fmt: skip

MITMPROXY = Kind(
    "mitmproxy", "mitmdump",
    ("--mode", "transparent@3129", "--mode", "transparent@3130", "--set", "confdir={work}", "--set", "flow_detail=1", "--set", "stream_large_bodies=1m",
     "--set", f"ssl_verify_upstream_trusted_ca={certificates.AUTHORITY}", "-s", "{config}"),
    "mitmproxy_rules.py", ("--version",), environment="mitmproxy", intercept=by_redirect,
)  # fmt: skip


def render(config: str, work: Path) -> str:
    """A peer's configuration with this ground's names and places in it."""
    return Template((DATA / config).read_text()).substitute(
        work=work,
        host=SITE.name,
        address=SITE.address,
        tunnel=internet.BENCH_TUNNEL.name,
        authority=certificates.AUTHORITY,
        hosts=HOSTS,
    )


@dataclass(frozen=True, slots=True)
class AskedByName:
    """A peer that runs, asked by CONNECT where others are intercepted."""

    name: str
    version: str
    seats: Sequence[Seat]
    pids: Callable[[], list[int]]


class Peer:
    """One that runs, on a way of its own."""

    def __init__(self, kind: Kind, number: int) -> None:
        """Lay the way and start it. Raises `PeerMissing`."""
        executable = kind.executable()
        self.name = kind.name
        self.version = version_in(
            subprocess.run((executable, *kind.version), capture_output=True, text=True, check=False).stdout
        )
        self._way = Way(kind.name, number)
        work = WORK / kind.name
        work.mkdir()
        kind.prepare(work)
        config = work / kind.config
        config.write_text(render(kind.config, work))
        self._way.lay(kind.intercept())
        arguments = [word.format(work=work, config=config) for word in kind.arguments]
        children.start(kind.name, knowing(pinned(PROXY_CPU, (executable, *arguments))), self._way.gateway)
        proxy = f"{self._way.address}:{EXPLICIT_PORT}" if kind.by_name else None
        self.seats: Sequence[Seat] = (Seat(inside(self._way.client), proxy, kind.hangs_up),)
        try:
            children.until_ready(kind.name, self._answers)
        except Exception as error:
            raise PeerMissing(str(error)) from error

    def pids(self) -> list[int]:
        """Every process of it."""
        return self._way.pids()

    def asked_by_name(self) -> AskedByName:
        """The same processes, by the other way to use them."""
        seat = Seat(inside(self._way.client), f"{self._way.address}:{EXPLICIT_PORT}")
        return AskedByName(f"{self.name}{BY_CONNECT}", self.version, (seat,), self.pids)

    def _answers(self) -> bool:
        (seat,) = self.seats
        asked = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "2")
        through = ("--proxy", f"http://{seat.proxy}") if seat.proxy else ()
        done = subprocess.run(
            seat.command((*asked, *through, f"http://{SITE.name}/o/1")),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout == "200"


def version_in(said: str) -> str:
    """The first version number in what a program said of itself."""
    found = re.search(r"\d+\.\d+(?:\.\d+)?", said)
    return found[0] if found else "unknown"

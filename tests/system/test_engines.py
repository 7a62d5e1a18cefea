"""The same driver on Docker 26.1 and 28.5, each engine in a network namespace of its own (design: the DNS hole).

A suite that has moved on gives a newer release. The engine's name server is the lab's. On 28.5 Docker's embedded
resolver asks it from the engine's own namespace, past the gateway: shown first with the seal taken out of a
running container, then closed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.listeners import listening_pid
from appliance.verify.case import Image
from tests.lab import internet
from tests.lab.appliance import COMMAND
from tests.lab.containers import HARDENED, IMAGES
from tests.lab.docker_release import Engine
from tests.lab.evidence import Origin, Queries
from tests.lab.lab import PROBE, Lab
from tests.lab.namespaces import inside, run

pytestmark = pytest.mark.system

INSTANCE = "egressnew"
LINK, PEER, ADDRESS = "egl-eng", "198.18.86.1", "198.18.86.2"
RELEASES = {"trixie": (26, 1), "sid": (28, 5)}  # at least: a suite moves on


class EngineAppliance:
    """An engine of another release, its uplink in the lab, and an appliance that serves it."""

    def __init__(self, lab: Lab, suite: str) -> None:
        self.lab = lab
        self.namespace = f"{internet.PREFIX}e-{suite}"
        self.engine = Engine(suite, self.namespace, internet.DNS_SERVER)
        self.home = self.engine.home.parent / f"{suite}-appliance"
        self.settings = self.home / "egress.yaml"

    def make_namespace(self) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", internet.INTERNET, "link", "add", LINK, "type", "veth", "peer", "name", "eth0",
            "netns", self.namespace)  # fmt: skip
        run("ip", "-n", internet.INTERNET, "addr", "add", f"{PEER}/30", "dev", LINK)
        run("ip", "-n", internet.INTERNET, "link", "set", LINK, "up")
        for line in (f"addr add {ADDRESS}/30 dev eth0", "link set eth0 up", "link set lo up"):
            run("ip", "-n", self.namespace, *line.split())
        run("ip", "-n", self.namespace, "route", "add", "default", "via", PEER)

    def remove_namespace(self) -> None:
        """Also the link by name: the namespace lives on until the last process in it has ended."""
        run("ip", "-n", internet.INTERNET, "link", "del", LINK, check=False)
        run("ip", "netns", "del", self.namespace, check=False)

    def up(self) -> None:
        config = self.home / "etc"
        (config / "tenants").mkdir(parents=True, exist_ok=True)
        self.settings.write_text(
            json.dumps(
                {
                    "instance": INSTANCE,
                    "config_dir": str(config),
                    "state_dir": str(self.home / "state"),
                    "run_dir": str(self.home / "run"),
                    "log_dir": str(self.home / "log"),
                    "workers": 1,
                    "uplink": {
                        "address": "198.18.87.2/30", "peer": "198.18.87.1", "peer_namespace": internet.INTERNET,
                    },
                    "resolver": {"servers": [{"address": internet.DNS_SERVER}]},
                    "upstream_ca": str(self.lab.authority),
                    "docker": {
                        "socket": str(self.engine.socket),
                        "plugin_dir": str(self.engine.root / "run/docker/plugins"),
                        "root": str(self.engine.inside),
                        "daemon_json": "/etc/docker/daemon.json",
                    },
                }
            )
        )  # fmt: skip
        self.egress("up")
        policy = self.home / "globex.yaml"
        policy.write_text(f"profile: allowlist\nrules:\n  - name: web\n    hosts: [{internet.WWW.name}]\n")
        self.egress("tenant", "add", "globex", "--policy", str(policy))

    def egress(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = inside(self.namespace, str(COMMAND), "--settings", str(self.settings), *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
        log = self.home / "log/supervisor.log"
        assert not check or done.returncode == 0, (
            done.stdout,
            done.stderr,
            log.exists() and log.read_text()[-3000:],
        )
        return done

    def load_image(self) -> None:
        saved = subprocess.Popen(["docker", "save", IMAGES[Image.PYTHON]], stdout=subprocess.PIPE)
        loaded = ["docker", "-H", f"unix://{self.engine.socket}", "load", "-q"]
        subprocess.run(loaded, stdin=saved.stdout, check=True, capture_output=True, timeout=180)
        assert saved.stdout is not None
        saved.stdout.close()
        assert saved.wait() == 0

    @contextmanager
    def held(self, process: str) -> Iterator[None]:
        """One process of the appliance stopped for a while (SIGSTOP)."""
        pid = listening_pid(str(self.home / "run" / f"{process}.sock"))
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def container(self, *command: str, detach: bool = False) -> subprocess.CompletedProcess[str]:
        how = ("-d",) if detach else ("--rm",)
        return self.engine.docker(
            "run", *how, "--network", "globex", *HARDENED, IMAGES[Image.PYTHON], *command, check=False
        )


@pytest.fixture(scope="module", params=sorted(RELEASES))
def served(closed_lab: Lab, request: pytest.FixtureRequest) -> Iterator[EngineAppliance]:
    subject = EngineAppliance(closed_lab, request.param)
    subject.remove_namespace()
    try:
        subject.make_namespace()
        with subject.engine:
            subject.load_image()
            try:
                subject.up()
                yield subject
            finally:
                subject.egress("down", "--force", check=False)
    finally:
        subject.remove_namespace()
        run("rm", "-rf", str(subject.home))


def ask(name: str) -> tuple[str, ...]:
    return ("python3", "-c", f"import socket; print(socket.gethostbyname({name!r}))")


def test_the_release_is_at_least_the_one_that_we_mean(served: EngineAppliance) -> None:
    version = served.engine.version()
    print(f"Docker of {served.engine.suite}: {version}")
    major, minor, *_ = version.split(".")
    assert (int(major), int(minor)) >= RELEASES[served.engine.suite]


def test_the_engine_has_no_way_but_the_lab(served: EngineAppliance) -> None:
    routes = run(*inside(served.namespace, "ip", "route", "show", "default")).strip()
    assert routes == f"default via {PEER} dev eth0"


def test_a_hardened_container_gets_what_it_may(served: EngineAppliance) -> None:
    done = served.container(
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"https://{internet.WWW.name}/"
    )
    assert (done.returncode, done.stdout) == (0, "200"), done.stderr


def test_a_container_that_lacks_a_flag_is_refused(served: EngineAppliance) -> None:
    done = served.engine.docker(
        "run", "--rm", "--network", "globex", IMAGES[Image.PYTHON], "true", check=False
    )
    assert done.returncode != 0
    assert "--cap-drop ALL" in done.stderr


@pytest.mark.parametrize("leak", ["sealed", "direct"])
def test_a_name_that_may_not_be_asked_for_leaves_no_query(served: EngineAppliance, leak: str) -> None:
    name = f"{leak}-{int(time.time() * 1000)}.exfil.example.com"
    if leak == "sealed":
        done = served.container(*ask(name))
        assert done.returncode != 0
    else:
        probe = PROBE.read_text()
        done = served.container("python3", "-c", probe, "dns", internet.DNS_SERVER, name)
        assert "REFUSED" in done.stdout
    served.lab.settle()
    assert Queries(name).hits(Origin.WORKLOAD) == 0


def test_without_the_seal_the_embedded_resolver_leaks_and_with_it_it_does_not(
    served: EngineAppliance,
) -> None:
    """B9. What the seal is for: the same container, the same name server, the seal's table out and in."""
    started = served.container("sleep", "100", detach=True)
    container = started.stdout.strip()
    try:
        pid = served.engine.docker("inspect", "-f", "{{.State.Pid}}", container).stdout.strip()
        tables = run("nsenter", f"--target={pid}", "--net", "nft", "list", "tables")
        assert "table ip egress_seal" in tables
        sealed, leaking = (f"{kind}-{int(time.time() * 1000)}.exfil.example.com" for kind in ("in", "out"))
        served.engine.docker("exec", "--user", "1000:1000", container, *ask(sealed), check=False)
        served.lab.settle()
        assert Queries(sealed).hits(Origin.WORKLOAD) == 0

        with served.held("netd"):  # or it would seal again
            run("nsenter", f"--target={pid}", "--net", "nft", "delete", "table", "ip", "egress_seal")
            # Not by docker exec, which would wait for netd to admit it.
            run("nsenter", f"--target={pid}", "--net", "--mount", *ask(leaking), check=False)
        served.lab.settle()
        leaked = Queries(leaking).hits(Origin.WORKLOAD)
        if served.engine.suite == "sid":
            assert leaked > 0  # asked from the engine's own namespace: the hole
        else:
            assert leaked == 0  # asked from the container's namespace: it ended at the resolver
    finally:
        served.engine.docker("rm", "-f", container, check=False)

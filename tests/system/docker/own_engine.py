"""The host's own Docker release as an engine of its own: mount and network namespace, data, socket, plugins.

Its network namespace has no way out: a loopback interface, Docker's bridge, and our veth pairs.
Engines of other releases: `tests.lab.docker_release`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker

from tests.lab import debian
from tests.lab.containers import HARDENED

__all__ = ["HARDENED", "IMAGE", "OwnEngine", "wait_for"]

HERE = Path(__file__).parent
IMAGE = "egress-test-base"
GATEWAY = "172.29.0.1"
POOL = "172.29.0.0/24"
PACKAGES = "busybox,curl,dnsutils,iproute2,libcap2-bin"


def base_archive() -> Path:
    """A small Debian of this host's release; no other engine's images are needed."""
    suite = debian.host_suite()
    return debian.system(f"workload-{suite}.tar", suite, PACKAGES)


def wait_for(what: str, condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


class OwnEngine:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self.daemon_json = directory / "daemon.json"
        self.settings = directory / "egress.yaml"
        self.state = directory / "links.json"
        self.host_queries = directory / "host-queries"
        self.gateway_queries = directory / "gateway-queries"
        self.plugin_log = directory / "plugin.log"
        self.daemon_log = directory / "dockerd.log"
        self.holder: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.plugin: subprocess.Popen[bytes] | None = None
        self.servers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.daemon_json.write_text("{}")
        resolv = self.directory / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\n")
        (self.directory / "config/tenants").mkdir(parents=True)
        (self.directory / "config/tenants/acme.yaml").write_text("profile: read-only-web\n")
        (self.directory / "state/tenants/acme").mkdir(parents=True)
        self.settings.write_text(
            json.dumps(
                {
                    "config_dir": str(self.directory / "config"),
                    "state_dir": str(self.directory / "state"),
                    "run_dir": str(self.directory / "run"),
                    "log_dir": str(self.directory / "log"),
                    "docker": {"socket": str(self.socket), "daemon_json": str(self.daemon_json)},
                }
            )
        )
        script = (
            f"mkdir -p /run/docker && mount -t tmpfs none /run/docker && mount -t tmpfs none /run/netns "
            f"&& mount --bind {resolv} /etc/resolv.conf && ip link set lo up && ip netns add egw "
            f"&& ip -n egw link set lo up && echo ready && exec sleep infinity"
        )
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", script],
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        self._serve_names(("nsenter",), "127.0.0.1", self.host_queries)
        self._serve_names(("ip", "netns", "exec", "egw"), GATEWAY, self.gateway_queries)
        self.start_daemon()
        self._load_image()
        self.start_plugin()
        self.admission(on=True)

    def inside(self, *words: str) -> list[str]:
        assert self.holder is not None
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", "--", *words]

    def _serve_names(self, prefix: tuple[str, ...], address: str, log: Path) -> None:
        words = () if prefix == ("nsenter",) else prefix
        server = subprocess.Popen(
            self.inside(*words, sys.executable, str(HERE / "name_server.py"), address, str(log)),
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        self.servers.append(server)

    def start_daemon(self) -> None:
        with self.daemon_log.open("ab") as log:
            self.daemon = subprocess.Popen(
                self.inside(
                    "dockerd", "--host", f"unix://{self.socket}", "--data-root", f"{self.directory}/data",
                    "--exec-root", "/run/docker", "--pidfile", f"{self.directory}/docker.pid",
                    "--config-file", str(self.daemon_json),
                ),
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for("dockerd", lambda: self.docker("version", check=False).returncode == 0, 60)

    def stop_daemon(self, number: int = signal.SIGTERM) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(number)
            self.daemon.wait(60)
            self.daemon = None
        if number == signal.SIGKILL:
            # Its containerd may be left, perhaps as a zombie, for which the next dockerd would wait in vain.
            file = "/run/docker/containerd/containerd.pid"
            script = f'read -r pid < {file} && kill -9 "$pid"; rm -f {file}'
            subprocess.run(self.inside("sh", "-c", script), check=False, capture_output=True)

    def _load_image(self) -> None:
        if self.docker("image", "inspect", IMAGE, check=False).returncode == 0:
            return
        self.docker("import", str(base_archive()), IMAGE, seconds=120)

    def start_plugin(self, mode: str = "normal") -> None:
        before = self.plugin_log.stat().st_size if self.plugin_log.exists() else 0
        with self.plugin_log.open("ab") as log:
            self.plugin = subprocess.Popen(
                self.inside(
                    sys.executable, str(HERE / "plugin_process.py"), str(self.settings), str(self.state), mode
                ),
                stderr=log,
            )
        wait_for("the plugin", lambda: "Site starting on" in self.plugin_log.read_text()[before:])

    def stop_plugin(self, number: int = signal.SIGTERM) -> None:
        if self.plugin is not None:
            self.plugin.send_signal(number)
            self.plugin.wait(30)
            self.plugin = None

    def restart_plugin(self, mode: str = "normal", number: int = signal.SIGKILL) -> None:
        self.stop_plugin(number)
        self.start_plugin(mode)

    def admission(self, *, on: bool) -> None:
        self.daemon_json.write_text(json.dumps({"authorization-plugins": ["egress"]} if on else {}))
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGHUP)
        # /info of 20.10 does not tell: a refusal does.
        wait_for("authorization-plugins", lambda: self._asks_us() is on)

    def _asks_us(self) -> bool:
        # While dockerd changes its list of plugins it answers a call in flight with 200 and no body: one version
        # named beforehand spares the SDK's own question, and the next round asks again.
        with contextlib.closing(docker.APIClient(f"unix://{self.socket}", version="1.41")) as client:
            answer = client.post(f"{client.base_url}/v1.41/containers/create", data=b"")
        return "authorization denied by plugin egress" in answer.text

    def docker(
        self, *words: str, check: bool = True, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *words],
            capture_output=True, text=True, timeout=seconds, check=False,
            env=os.environ | {"DOCKER_CONTEXT": "", "DOCKER_HOST": ""},
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    def create_network(self, name: str = "acme") -> None:
        self.docker("network", "create", "-d", "egress", "--opt", "tenant=acme", "--subnet", POOL, name)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.docker("run", "--rm", "--network", "acme", *HARDENED, *words, check=check)

    def links(self) -> dict[str, object]:
        return json.loads(self.state.read_text())  # type: ignore[no-any-return]

    def records(self) -> list[dict[str, Any]]:
        log = self.directory / "log/audit/netd/netd.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]

    def queries(self, log: Path) -> list[str]:
        return log.read_text().split() if log.exists() else []

    def stop(self) -> None:
        if self.daemon is not None and self.plugin is not None:
            for container in self.docker("ps", "-aq", check=False).stdout.split():
                self.docker("rm", "-f", container, check=False)
        self.stop_daemon()
        self.stop_plugin()
        for process in [*self.servers, self.holder]:
            if process is not None:
                process.kill()
                process.wait(10)
                if process.stdout is not None:
                    process.stdout.close()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            mounted = line.split()[1]
            assert not mounted.startswith(str(self.directory)), f"{mounted} is still mounted on the host"
        shutil.rmtree(self.directory / "data", ignore_errors=True)

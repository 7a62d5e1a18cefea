"""A real appliance whose uplink ends in the lab, driven by the same command line that an operator uses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance import docker_host
from appliance.settings import Settings
from netns.driver.switch import listed
from tests.lab import internet
from tests.lab.lab import GATEWAY, Lab
from tests.lab.namespaces import LabError, run

INSTANCE = GATEWAY
SETTINGS_FILE = internet.RUNTIME / "egress.yaml"
DIRECTORIES = {
    "config_dir": internet.RUNTIME / "etc",
    "run_dir": internet.RUNTIME / "run",
    "state_dir": Path("/var/lib/egress-lab/appliance"),
    "log_dir": Path("/var/log/egress-lab"),
}
# Of its own, so that it stands beside an appliance with the defaults.
UPLINK, UPLINK_PEER = "198.18.88.2", "198.18.88.1"
UIDS = {"group": 64110, "gateway": 64111, "resolver": 64112, "broker": 64113, "squid": 64114}
UP_SECONDS = 90.0
COMMAND = Path(sys.executable).with_name("egress")


class CommandFailed(LabError):
    """The command line said no; `str()` carries what it said."""


class Appliance:
    """Context manager: settings written, appliance up, tenants made; all of it gone afterwards but the logs."""

    def __init__(
        self,
        lab: Lab,
        policies: Mapping[str, str],
        operator: str | None = None,
        further: Mapping[str, object] | None = None,
    ) -> None:
        """`operator`: text of operator.yaml; `further`: settings beside those of the lab, such as `docker`."""
        self._lab, self._policies, self._operator, self._further = lab, policies, operator, further or {}

    def __enter__(self) -> Self:
        try:
            self._enter()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _enter(self) -> None:
        remove_leftovers()
        self.write_settings()
        self.egress("up", seconds=UP_SECONDS)
        self._lab.assert_closed()
        _remove_networks()  # of an earlier instance: only a live driver can remove them
        for tenant, policy in self._policies.items():
            draft = internet.RUNTIME / f"{tenant}.yaml"
            draft.write_text(policy)
            self.egress("tenant", "add", tenant, "--policy", str(draft))

    def write_settings(self) -> None:
        """The settings file, and directories as a first start would find them (absent)."""
        for directory in DIRECTORIES.values():
            shutil.rmtree(directory, ignore_errors=True)
        DIRECTORIES["config_dir"].mkdir(parents=True)
        if self._operator:
            (DIRECTORIES["config_dir"] / "operator.yaml").write_text(self._operator)
        settings = {
            "instance": INSTANCE,
            **{name: str(path) for name, path in DIRECTORIES.items()},
            "uplink": {
                "address": f"{UPLINK}/30",
                "peer": UPLINK_PEER,
                "peer_namespace": internet.INTERNET,
            },
            "uids": UIDS,
            "resolver": {"servers": [{"address": internet.DNS_SERVER}]},
            "upstream_ca": str(self._lab.authority),
            **self._further,
        }
        SETTINGS_FILE.write_text(json.dumps(settings, indent=2))  # JSON is YAML

    def egress(
        self, *arguments: str, seconds: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with the lab's settings. Raises `CommandFailed` unless `check` is off."""
        return egress(*arguments, seconds=seconds, check=check)

    def remove(self) -> None:
        """Containers, tenants and processes of the lab's instance, then its directories; logs stay."""
        remove_leftovers()


def egress(*arguments: str, seconds: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The operator's command on the lab's settings file."""
    command = (str(COMMAND), "--settings", str(SETTINGS_FILE), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd="/")
    except subprocess.TimeoutExpired as expired:
        said = f"no answer within {seconds:.0f} s"
        done = subprocess.CompletedProcess(command, 124, str(expired.stdout or ""), said)
    if check and done.returncode != 0:
        raise CommandFailed(
            f"egress {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def _remove_containers() -> None:
    containers = run(
        "docker", "ps", "-aq", "--filter", f"label={internet.CONTAINER_LABEL}", check=False
    ).split()
    if containers:
        run("docker", "rm", "-f", *containers, check=False, timeout=60)


def _remove_networks() -> None:
    for network in run(
        "docker", "network", "ls", "-q", "--filter", f"driver={INSTANCE}", check=False
    ).split():
        run("docker", "network", "rm", network, check=False, timeout=60)


def remove_leftovers() -> None:
    """Whatever an appliance of the lab left behind, also one that was killed. Safe to repeat."""
    _remove_containers()
    if SETTINGS_FILE.exists():
        if egress("status", check=False).returncode == 0:
            _remove_networks()
        egress("down", "--force", check=False, seconds=UP_SECONDS)
    settings = Settings(instance=INSTANCE)
    if listed(settings.docker.daemon_json, INSTANCE):
        with suppress(docker_host.DockerUnavailable):  # an engine that is down reads its file when it starts
            docker_host.disable_admission(settings)
    _remove_containers()  # with the admission plugin dead, Docker refused it the first time
    for directory in (internet.RUNTIME / "etc", internet.RUNTIME / "run", DIRECTORIES["state_dir"]):
        shutil.rmtree(directory, ignore_errors=True)
    for file in internet.RUNTIME.glob("*.yaml") if internet.RUNTIME.is_dir() else ():
        file.unlink()


def failure_logs(lines_each: int = 15) -> str:
    """The end of every log of the appliance, for a report of what went wrong."""
    logs = sorted(DIRECTORIES["log_dir"].glob("*.log")) if DIRECTORIES["log_dir"].is_dir() else []
    return "\n".join(
        f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines_each:])
        for log in logs
        if log.stat().st_size
    )

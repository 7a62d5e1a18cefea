"""`egress run`: every flag that admission demands, what is missing named, a summary that steers nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from appliance import docker_host
from appliance.cli import run
from appliance.docker_host import ApplianceNetwork
from tests.unit.cli.typed import Egress, refused


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """`docker run` lines that would have been started; each ends with 7."""
    seen: list[list[str]] = []

    def start(arguments: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        seen.append(arguments)
        return subprocess.CompletedProcess(arguments, 7)

    monkeypatch.setattr(run.subprocess, "run", start)
    networks = [ApplianceNetwork("acme-net", "id", "acme", "172.18.0.0/16", ())]
    monkeypatch.setattr(docker_host, "networks", lambda _settings: networks)
    monkeypatch.setattr(docker_host, "has_image", lambda _settings, _image: True)
    monkeypatch.setattr(docker_host, "log_driver", lambda _settings: "json-file")
    return seen


def test_the_job_is_hardened_and_its_code_is_ours(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]]
) -> None:
    tenant("acme")
    result = egress("run", "--tenant", "acme", "-e", "A=b", "--", "python3", "-c", "--help")
    assert result.exit_code == 7
    (line,) = started
    text = " ".join(line)
    for flag in (
        "--network acme-net", "--user 1000:1000", "--cap-drop ALL", "--security-opt no-new-privileges", "--read-only",
        "--pids-limit 256", "--memory 1g", "--memory-swap 1g", "--cpus 1", "--label egress.tenant=acme", "--env A=b",
        "--log-opt max-size=10m --log-opt max-file=2",
    ):  # fmt: skip
        assert flag in text
    assert line[-4:] == ["egress/runner-python", "python3", "-c", "--help"]
    assert "ended with 7; 0 requests allowed, 0 refused" in result.stderr


@pytest.mark.parametrize(
    ("engine", "driver", "bounded"),
    [
        ("json-file", "", True),
        ("local", "", True),
        ("journald", "", False),
        ("none", "", False),
        ("syslog", "local", True),
        ("", "local", True),
    ],
)
def test_a_jobs_output_cannot_fill_the_disk_f7(engine: str, driver: str, *, bounded: bool) -> None:
    flags = run.log_flags(engine)
    assert flags == (["--log-driver", driver] if driver else []) + (
        ["--log-opt", "max-size=10m", "--log-opt", "max-file=2"] if bounded else []
    )


def test_the_workspace_can_be_read_only(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]]
) -> None:
    tenant("acme")
    egress("shell", "--tenant", "acme", "--read-only-workspace")
    assert any(word.endswith(",dst=/workspace,readonly") for word in started[0])
    assert started[0][-1] == "/bin/bash"


def test_a_tenant_that_does_not_exist(egress: Egress, started: list[list[str]]) -> None:
    refused(egress("run", "--tenant", "nope", "true"), "no tenant 'nope'", "egress tenant add nope")
    assert started == []


def test_docker_absent(egress: Egress, tenant: Callable[..., Path]) -> None:
    tenant("acme")
    refused(egress("run", "--tenant", "acme", "true"), "no Docker engine answers", "start it")


def test_the_docker_command_absent(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_args: object, **_kw: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "docker")

    tenant("acme")
    monkeypatch.setattr(run.subprocess, "run", absent)
    refused(
        egress("run", "--tenant", "acme", "true"),
        "docker command is not installed; apt-get install docker.io",
    )


def test_a_tenant_without_a_network(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant("acme")
    monkeypatch.setattr(docker_host, "networks", lambda _settings: [])
    refused(
        egress("run", "--tenant", "acme", "true"),
        "docker network create -d egressunit --opt tenant=acme acme",
    )
    assert started == []


def test_images_of_ours_are_built_and_never_pulled(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant("acme")
    monkeypatch.setattr(docker_host, "has_image", lambda _settings, _image: False)
    refused(
        egress("run", "--tenant", "acme", "true"),
        "image egress/runner-python is not here; build it: make images",
    )
    assert started == []
    assert egress("run", "--tenant", "acme", "--image", "debian:12", "true").exit_code == 7


def test_the_summary(
    egress: Egress, tenant: Callable[..., Path], started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def records(_folder: Path, _wanted: object) -> list[dict[str, Any]]:
        denied = {"kind": "request", "outcome": "denied", "method": "POST", "host": "a.example\x1b[2J",
                  "reason": "method-not-allowed", "detail": "no"}  # fmt: skip
        name = {
            "kind": "dns",
            "outcome": "denied",
            "name": "b.example",
            "reason": "host-not-listed",
            "detail": "no",
        }
        return [{"kind": "request", "outcome": "allowed"}, denied, denied | {"count": 4}, name]

    tenant("acme")
    monkeypatch.setattr(run, "records", records)
    lines = click.unstyle(egress("run", "--tenant", "acme", "true").stderr).splitlines()
    assert lines[0].endswith("ended with 7; 1 request allowed, 6 refused")
    assert lines[1] == "egress:   5 x POST a.example\\x1b[2J: method-not-allowed (no)"
    machine = egress("--json", "run", "--tenant", "acme", "true")
    assert machine.stdout == ""
    assert json.loads(machine.stderr)["exit_code"] == 7
    monkeypatch.setenv("EGRESS_QUIET", "1")
    assert egress("run", "--tenant", "acme", "true").stderr == ""

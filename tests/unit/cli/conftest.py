"""The command line on settings of its own, as root would type it, whoever runs the tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from appliance import settings as settings_module
from appliance.cli.main import cli
from appliance.settings import Settings
from tests.unit.cli.typed import Egress


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(settings_module.SETTINGS_VARIABLE, raising=False)
    file = tmp_path / "egress.yaml"
    document = {
        "instance": "egressunit",
        **{f"{name}_dir": str(tmp_path / name) for name in ("config", "state", "run", "log")},
        "docker": {"socket": str(tmp_path / "docker.sock"), "daemon_json": str(tmp_path / "daemon.json")},
        "workers": 1,
    }
    file.write_text(json.dumps(document))  # JSON is YAML
    return file


@pytest.fixture
def settings(settings_file: Path) -> Settings:
    return settings_module.load(settings_file)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_args, **_kw: None)


@pytest.fixture
def egress(settings_file: Path, as_root: None, monkeypatch: pytest.MonkeyPatch) -> Egress:
    # The group exports it for the processes that `up` starts; not beyond one test.
    monkeypatch.setenv(settings_module.SETTINGS_VARIABLE, str(settings_file))

    def typed(*arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(
            cli, ["--settings", str(settings_file), *arguments], prog_name="egress"
        )

    return typed


@pytest.fixture
def tenant(settings: Settings) -> Callable[[str, str], Path]:
    """Writes a tenant's document where `tenant add` would put it."""

    def write(name: str, text: str = "profile: read-only-web\n") -> Path:
        settings.tenants_dir.mkdir(parents=True, exist_ok=True)
        file = settings.tenants_dir / f"{name}.yaml"
        file.write_text(text)
        return file

    return write

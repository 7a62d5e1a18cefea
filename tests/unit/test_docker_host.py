"""The engine's configuration file is merged, never overwritten, and left alone when it cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance import docker_host
from appliance.admission_probe import is_announced
from appliance.settings import DockerSettings, Settings


@pytest.fixture
def reloads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The engine's re-reading, recorded instead of sent."""
    seen: list[bool] = []
    monkeypatch.setattr(docker_host, "_reload", lambda _settings, *, expect: seen.append(expect))
    return seen


def settings_with(file: Path) -> Settings:
    return Settings(docker=DockerSettings(daemon_json=file))


def test_enable_keeps_every_other_key_and_plugin(tmp_path: Path, reloads: list[bool]) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"live-restore": True, "authorization-plugins": ["other"]}))
    assert docker_host.enable_admission(settings_with(file))
    assert json.loads(file.read_text()) == {
        "live-restore": True,
        "authorization-plugins": ["other", "egress"],
    }
    assert not docker_host.enable_admission(settings_with(file))
    assert reloads == [True, True]


def test_disable_takes_out_only_ours(tmp_path: Path, reloads: list[bool]) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"authorization-plugins": ["egress", "other"]}))
    assert docker_host.disable_admission(settings_with(file))
    assert json.loads(file.read_text()) == {"authorization-plugins": ["other"]}
    assert reloads == [False]


def test_a_file_that_we_made_is_gone_again(tmp_path: Path, reloads: list[bool]) -> None:
    file = tmp_path / "docker" / "daemon.json"
    docker_host.enable_admission(settings_with(file))
    assert file.exists()
    docker_host.disable_admission(settings_with(file))
    assert not file.exists()
    assert reloads == [True, False]


@pytest.mark.parametrize("content", ["{", '["a"]', '{"authorization-plugins": "egress"}'])
def test_a_file_that_cannot_be_understood_is_not_touched(
    tmp_path: Path, reloads: list[bool], content: str
) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(content)
    with pytest.raises(docker_host.DockerUnavailable, match="nothing was changed"):
        docker_host.enable_admission(settings_with(file))
    assert file.read_text() == content
    assert reloads == []


def test_no_process_but_the_engine_that_listens_is_told_to_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pid file outlives its process, and a pid is given anew."""
    told: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _signal: told.append(pid))
    (tmp_path / "var/run").mkdir(parents=True)
    (tmp_path / "var/run/docker.pid").write_text("4711")
    docker = DockerSettings(root=tmp_path, socket=tmp_path / "none.sock")
    with pytest.raises(docker_host.DockerUnavailable, match="start it"):
        docker_host.enable_admission(Settings(docker=docker))
    assert told == []


def test_no_engine_is_a_message_with_the_mend(tmp_path: Path) -> None:
    settings = Settings(docker=DockerSettings(socket=tmp_path / "none.sock"))
    with pytest.raises(docker_host.DockerUnavailable, match="start it"), docker_host.client(settings):
        pass


@pytest.mark.parametrize(
    ("plugins", "waiting"), [(["other", "egress"], True), (["other"], False), ([], False)]
)
def test_an_engine_that_cannot_start_before_us(tmp_path: Path, plugins: list[str], *, waiting: bool) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"authorization-plugins": plugins}))
    docker = DockerSettings(daemon_json=file, socket=tmp_path / "none.sock")
    assert docker_host.starts_after_us(Settings(docker=docker)) is waiting


def test_an_engine_that_runs_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"authorization-plugins": ["egress"]}))
    monkeypatch.setattr(docker_host, "listening_pid", lambda _path: 4711)
    assert not docker_host.starts_after_us(settings_with(file))


@pytest.mark.parametrize(
    ("answer", "enabled", "disabled"),
    [
        ((403, "authorization denied by plugin egress: this was the probe"), True, False),
        ((403, "authorization denied by plugin other: no"), False, True),
        ((500, "plugin egress failed with error: connection refused"), False, False),
        ((404, "No such container: egress-probe-0"), False, True),
        ((200, ""), False, False),  # dockerd is between two lists of plugins
    ],
)
def test_who_is_asked(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], *, enabled: bool, disabled: bool
) -> None:
    monkeypatch.setattr(docker_host, "_call", lambda *_words: answer)
    assert docker_host.admission_enabled(Settings()) is enabled
    assert docker_host.admission_disabled(Settings()) is disabled


def test_a_full_disk_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("run")  # stands for any error of the file system
    with pytest.raises(docker_host.DockerUnavailable, match="cannot be asked for"):
        docker_host.admission_enabled(Settings(run_dir=tmp_path / "run"))


def test_the_probe_is_announced_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(settings: Settings, method: str, target: str) -> tuple[int, str]:
        assert method == "GET"
        assert is_announced(settings.run_dir, target, os.getuid())
        return 403, "authorization denied by plugin egress: no"

    monkeypatch.setattr(docker_host, "_call", call)
    assert docker_host.admission_enabled(Settings(run_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []

"""Paths in dockerd's file system, seen from ours; and which process it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance import docker_root
from appliance.docker_root import TooManyLinks, engine_pid, resolve_inside, seen_from_here
from appliance.settings import DockerSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/docker/netns").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "up").symlink_to("../../../../run")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/var/run/docker/netns/x", "/run/docker/netns/x"),
        ("/run/./docker//netns", "/run/docker/netns"),
        ("/up/docker", "/run/docker"),
        ("/../../etc", "/etc"),
        ("/var/run/../etc", "/etc"),
        ("/not/there", "/not/there"),
        ("/", "/"),
    ],
)
def test_links_stay_inside(root: Path, path: str, resolved: str) -> None:
    assert resolve_inside(root, path) == resolved


def test_where_we_find_it(root: Path) -> None:
    assert seen_from_here(root, "/var/run/docker") == root / "run/docker"


def test_a_circle_ends(root: Path) -> None:
    with pytest.raises(TooManyLinks):
        resolve_inside(root, "/loop/x")


def test_the_engine_is_who_listens(root: Path) -> None:
    (root / "run/docker.pid").write_text("4711")
    docker = DockerSettings(root=root, socket=root / "docker.sock")
    assert engine_pid(docker) is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(docker.socket))
        listening.listen()
        assert engine_pid(docker) == os.getpid()


@pytest.mark.parametrize(
    ("text", "pid"),
    [
        ("4711\n", 4711),
        ("no number", None),
        ("-1", None),
        ("0", None),
        ("", None),
        ("\u00b2", None),
        (None, None),
    ],
)
def test_where_init_listens_its_pid_file_tells(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, pid: int | None
) -> None:
    """Socket activation: systemd is the listener, and as old as the machine."""
    monkeypatch.setattr(docker_root, "listening_pid", lambda _path, _within: 1)
    if text is not None:
        (root / "run/docker.pid").write_text(text)
    assert engine_pid(DockerSettings(root=root)) == pid

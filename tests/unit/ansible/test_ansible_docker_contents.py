"""What is not the appliance's in an engine is named before the engine goes with it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from plugin import load
from tasks import read

MODULE = load("modules/docker_contents.py")
OURS = {
    "network": ["egress acme"],
    "image": ["egress/runner-python:latest"],
    "containerd namespace": ["moby", "plugins.moby"],
}
NOWHERE = {"driver": "egress", "loaded": "/nowhere", "containerd": False}


def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: dict[str, list[str]]) -> list[str]:
    """What the module names in an engine that holds `listed`, where a role has loaded the runner image."""
    kinds = {question: kind for kind, question in MODULE.QUESTIONS.items()}

    def asked(*words: str) -> list[str]:
        return listed.get(kinds[words], [])

    monkeypatch.setattr(MODULE, "_asked", asked)
    loaded = tmp_path / "tenants.images"
    loaded.write_text("egress/runner-python\nlocalhost:5000/own:1\n")
    named: list[str] = MODULE.run({"driver": "egress", "loaded": str(loaded), "containerd": True})["foreign"]
    return named


def test_an_engine_with_nothing_but_the_appliances_holds_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert found(monkeypatch, tmp_path, {}) == []
    assert found(monkeypatch, tmp_path, OURS) == []


@pytest.mark.parametrize(
    ("kind", "line", "named"),
    [
        ("container", "theirs", "container theirs"),
        ("volume", "data", "volume data"),
        ("image", "debian:12", "image debian:12"),
        ("image", "egress/runner-python:old", "image egress/runner-python:old"),
        ("image", "localhost:5000/own:2", "image localhost:5000/own:2"),
        ("image", "4f1a2b3c4d5e", "image 4f1a2b3c4d5e"),
        ("network", "bridge back end", "network back end"),
        ("plugin", "vieux/sshfs:latest", "plugin vieux/sshfs:latest"),
        ("containerd namespace", "k8s.io", "containerd namespace k8s.io"),
    ],
)
def test_what_somebody_else_keeps_in_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, line: str, named: str
) -> None:
    assert found(monkeypatch, tmp_path, {**OURS, kind: [*OURS.get(kind, []), line]}) == [named]


def test_an_image_is_nobodys_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_asked", lambda *words: ["a:1"] if words[1] == "image" else [])
    assert MODULE.run(NOWHERE)["foreign"] == ["image a:1"]


def test_a_containerd_that_stays_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(MODULE, "_asked", lambda *words: asked.append(words[0]) or [])
    MODULE.run(NOWHERE)
    assert set(asked) == {"docker"}


def test_an_engine_that_does_not_answer_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess((), 1, "", "Cannot connect to the Docker daemon\n")
    monkeypatch.setattr(MODULE.subprocess, "run", lambda *_, **__: said)
    with pytest.raises(MODULE.Refused, match=r"docker ps: Cannot connect.*run this again"):
        MODULE.run(NOWHERE)

    def none(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(MODULE.subprocess, "run", none)
    with pytest.raises(MODULE.Refused, match="no docker here"):
        MODULE.run(NOWHERE)


def test_the_word_for_the_removal_is_no_word_for_what_others_keep() -> None:
    assert read("roles/docker_engine/defaults/main.yml")["docker_engine_remove_data"] is False


def test_the_engine_is_asked_before_anything_goes_and_again_before_it_goes() -> None:
    roles = [
        (words["name"].rpartition(".")[2], words["tasks_from"])
        for task in read("playbooks/remove.yml")[0]["tasks"]
        if (words := task.get("ansible.builtin.include_role"))
    ]
    going = [role for role in roles if role[1] in ("remove", "remove_admission")]
    assert roles.index(("docker_engine", "remove_preflight")) < roles.index(going[0])
    first = read("roles/docker_engine/tasks/remove.yml")[0]
    assert first["ansible.builtin.import_tasks"] == "remove_preflight.yml"


def test_the_list_of_loaded_images_is_the_one_that_is_written() -> None:
    asked = [
        task["egress.appliance.docker_contents"]["loaded"]
        for task in read("roles/docker_engine/tasks/remove_preflight.yml")
        if "egress.appliance.docker_contents" in task
    ]
    assert asked == [read("roles/tenants/vars/main.yml")["tenants_record"]]

"""netns.launch for a service manager: the place is its doing and is looked at; directories are made beforehand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.folders import Folder, folders
from appliance.processes import processes
from appliance.settings import SETTINGS_VARIABLE, load
from netns import launch, namespaces
from netns.launch import FOLDERS, IN_PLACE, LaunchError

OUR_NAMESPACE, THE_GATEWAYS = 4026531840, 4026532000


class Steps:
    """What the launcher would do to the machine."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def __call__(self, name: str) -> Any:
        return lambda *_args, **_kw: self.taken.append(name)


class Far(Exception):
    """The launcher came as far as its listeners."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    file = tmp_path / "egress.yaml"
    places = {f"{name}_dir": str(tmp_path / name) for name in ("config", "state", "run", "log")}
    file.write_text(json.dumps({"instance": "egressunit", **places}), encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(file))
    steps = Steps()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(launch, "_make_all", steps("folders"))
    monkeypatch.setattr(namespaces, "enter", steps("enter"))
    monkeypatch.setattr(namespaces, "leave_all", steps("leave"))

    def listen(*_args: object) -> int:
        raise Far

    monkeypatch.setattr(launch, "open_listener", listen)
    return steps


def place(monkeypatch: pytest.MonkeyPatch, own: int, *interfaces: str) -> None:
    monkeypatch.setattr(namespaces, "identity", lambda name: own if name is None else THE_GATEWAYS)
    monkeypatch.setattr(namespaces, "links", lambda: set(interfaces))


@pytest.mark.parametrize("name", ["gateway-0", "resolver", "squid"])
def test_in_the_namespace_it_goes_on_and_enters_none(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place(monkeypatch, THE_GATEWAYS, "lo", "uplink")
    with pytest.raises(Far):
        launch.run([IN_PLACE, name], {})
    assert steps.taken == ["folders"]


@pytest.mark.parametrize("name", ["gateway-0", "resolver", "squid"])
def test_in_any_other_namespace_it_does_not_start(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A worker in the host's namespace would go out by the host's routes, past every rule."""
    place(monkeypatch, OUR_NAMESPACE, "lo", "eth0")
    with pytest.raises(LaunchError, match="this is not network namespace egressunit"):
        launch.run([IN_PLACE, name], {})
    assert steps.taken == ["folders"]


def test_a_namespace_that_is_not_there_is_not_ours(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    del steps
    monkeypatch.setattr(namespaces, "identity", lambda name: OUR_NAMESPACE if name is None else None)
    with pytest.raises(LaunchError, match="once netd is ready"):
        launch.run([IN_PLACE, "gateway-0"], {})


def test_the_broker_does_not_start_where_there_is_a_network(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch, OUR_NAMESPACE, "lo", "eth0")
    with pytest.raises(LaunchError, match="PrivateNetwork=yes"):
        launch.run([IN_PLACE, "broker"], {})
    for interfaces in (("lo",), ("lo", "sit0", "tunl0")):
        place(monkeypatch, OUR_NAMESPACE, *interfaces)
        with pytest.raises(Far):
            launch.run([IN_PLACE, "broker"], {})
    assert "leave" not in steps.taken


@pytest.mark.parametrize(("name", "step"), [("gateway-0", "enter"), ("broker", "leave"), ("netd", "")])
def test_without_a_service_manager_the_launcher_goes_there_itself(steps: Steps, name: str, step: str) -> None:
    with pytest.raises(Far):
        launch.run([name], {})
    assert steps.taken == ["folders", *([step] if step else [])]


def test_everybodys_directories_are_made_beforehand(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Folder] = []
    monkeypatch.setattr(launch, "_make_all", made.extend)
    launch.run([FOLDERS], {})
    settings = load()
    assert made == [folder for process in processes(settings) for folder in folders(settings, process)]
    assert steps.taken == []


@pytest.mark.parametrize(
    "words", [[], ["--nonsense"], [IN_PLACE], [FOLDERS, "netd"], [IN_PLACE, FOLDERS], ["netd", "broker"],
              [IN_PLACE, IN_PLACE, "netd"], ["--", "netd"]],
    ids=" ".join,
)  # fmt: skip
def test_a_line_that_means_nothing(steps: Steps, words: list[str]) -> None:
    with pytest.raises(LaunchError, match="usage: python -m"):
        launch.run(words, {})
    assert steps.taken == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("Inter-| Receive\n face |bytes\n    lo: 0 0\n", {"lo"}),
        ("Inter-| Receive\n face |bytes\n    lo: 0 0\n  eth0: 1 2\n", {"lo", "eth0"}),
        ("Inter-| Receive\n face |bytes\n", set()),
    ],
)
def test_the_kernels_table_of_interfaces(tmp_path: Path, table: str, expected: set[str]) -> None:
    file = tmp_path / "dev"
    file.write_text(table, encoding="ascii")
    assert namespaces.links(file) == expected
    assert "lo" in namespaces.links()

"""Names that dockerd reads in another way than they look, or looks up only after we have answered."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from own_engine import HARDENED, IMAGE, OwnEngine, wait_for

from netns.driver.container_watch import EVERY

pytestmark = pytest.mark.system


def create_network(engine: OwnEngine, driver: str, *, check: bool = True) -> str:
    words = ("-d", driver, "--opt", "tenant=acme", "--subnet", "172.30.0.0/24", "alias")
    return engine.docker("network", "create", *words, check=check).stderr


def inspect(engine: OwnEngine, what: str, name: str) -> Any:
    (found,) = json.loads(engine.docker(what, "inspect", name).stdout)
    return found


@pytest.mark.parametrize("driver", ["./egress", "../plugins/egress", "x/../egress"])
def test_our_driver_by_another_name_makes_no_network(engine: OwnEngine, driver: str) -> None:
    assert "write -d egress" in create_network(engine, driver, check=False)
    assert "alias" not in engine.docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    record = engine.records()[-1]
    assert (record["operation"], record["reason"]) == ("network create", "driver-name")


def test_networks_of_others_are_made(engine: OwnEngine) -> None:
    engine.docker("network", "create", "-d", "bridge", "web")
    engine.docker("network", "rm", "web")
    said = create_network(engine, "vendor/plugin:latest", check=False)
    assert "plugin" in said
    assert "egress" not in said


def test_a_network_of_our_driver_by_another_name_is_ours_and_gets_no_container(engine: OwnEngine) -> None:
    """Made while nobody judged its name: the control, in which dockerd does find us by it."""
    engine.restart_plugin("unnamed")
    try:
        create_network(engine, "./egress")
        network = inspect(engine, "network", "alias")
        assert network["Driver"] == "./egress"
        for _ in range(2):
            accepted: Any = engine.links()["net"]
            assert network["Id"] in [one["id"] for one in accepted]
            bare = engine.docker("create", "--network", "alias", IMAGE, "true", check=False)
            assert "egress: container on network alias needs --user" in bare.stderr
            hardened = engine.docker(
                "run", "--rm", "--network", "alias", *HARDENED, IMAGE, "true", check=False
            )
            assert "of driver egress; remove it and create it again" in hardened.stderr
            assert engine.links()["links"] == []
            engine.restart_plugin("unnamed")
    finally:
        engine.docker("network", "rm", "alias", check=False)
        engine.restart_plugin()
    assert engine.run(IMAGE, "true").returncode == 0


@pytest.fixture
def networks(engine: OwnEngine) -> Iterator[None]:
    """`web` and `more`, of which nobody has heard."""
    for name in ("web", "more"):
        engine.docker("network", "create", name)
    yield
    containers = engine.docker("ps", "-aq").stdout.split()
    if containers:
        engine.docker("rm", "-f", *containers)
    engine.docker("network", "rm", "web", "more")


def start(engine: OwnEngine, name: str, *words: str) -> str:
    hardened = ("--network", "acme", *words, *HARDENED, IMAGE, "sleep", "300")
    return engine.docker("run", "-d", "--name", name, *hardened).stdout.strip()


def running(engine: OwnEngine, container: str) -> bool:
    return bool(inspect(engine, "container", container)["State"]["Running"])


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(("left", "has"), [(False, {"acme", "more"}), (True, {"more"})])
def test_another_network_by_a_swap_of_names_ends_the_container(
    engine: OwnEngine, has: set[str], *, left: bool
) -> None:
    """The connect is judged for `decoy`, which is none of ours; by then the job is called so."""
    engine.restart_plugin("renaming")
    try:
        engine.docker("run", "-d", "--name", "decoy", "--network", "web", IMAGE, "sleep", "300")
        job = start(engine, "job", "--restart", "always")
        if left:
            engine.docker("network", "disconnect", "acme", "job")
        engine.docker("network", "connect", "more", "decoy")
        wait_for("its end", lambda: not running(engine, job), 10)
        found = inspect(engine, "container", job)
        assert found["Name"] == "/decoy", "the control: the names were swapped"
        assert set(found["NetworkSettings"]["Networks"]) == has, "the control: it got the network"
        assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
        assert engine.links()["links"] == []
        (record,) = [r for r in engine.records() if r.get("container") == job]
        assert (record["operation"], record["reason"], record["tenant"]) == ("run", "one-network", "acme")
        assert "--network more as well" in record["detail"]
        assert running(engine, "away"), "others are none of our business"
        assert engine.docker("start", job, check=False).returncode != 0
    finally:
        engine.restart_plugin()


@pytest.mark.usefixtures("networks")
def test_another_network_by_a_call_that_nobody_asked_us_about_ends_the_container(engine: OwnEngine) -> None:
    job = start(engine, "job")
    engine.admission(on=False)
    try:
        engine.docker("network", "connect", "more", "job")
        wait_for("its end", lambda: not running(engine, job), 10)
    finally:
        engine.admission(on=True)


@pytest.mark.usefixtures("networks")
def test_what_is_done_to_others_stops_none_of_ours(engine: OwnEngine) -> None:
    engine.docker("run", "-d", "--name", "theirs", IMAGE, "sleep", "300")
    ours = start(engine, "ours")
    for _ in range(5):
        engine.docker("network", "connect", "web", "theirs")
        engine.docker("network", "disconnect", "web", "theirs")
        engine.docker("update", "--memory", "100m", "--memory-swap", "100m", "ours")
    time.sleep(EVERY + 1)  # and a look of the watch's own
    assert running(engine, ours)
    assert engine.docker("exec", "ours", "id", "-u").stdout == "1000\n"
    assert [r for r in engine.records() if r.get("container") == ours] == []


def test_a_container_that_is_not_there(engine: OwnEngine) -> None:
    for words in (("network", "connect", "bridge", "gone"), ("update", "--pids-limit", "0", "gone")):
        assert "no such container: 'gone'" in engine.docker(*words, check=False).stderr


def test_a_build_takes_its_network_from_no_form(engine: OwnEngine) -> None:
    with contextlib.closing(docker.APIClient(f"unix://{engine.socket}", version="1.41")) as client:
        target = f"{client.base_url}/v1.41/build?networkmode=bridge&remote=http%3A%2F%2F127.0.0.1%2Fx"
        answer = client.post(target, data={"networkmode": "acme"})
        semicolon = client.post(f"{client.base_url}/v1.41/build?t=x;networkmode=acme")
    assert answer.status_code == semicolon.status_code == 403
    assert "its body is a form" in answer.text
    assert "semicolon" in semicolon.text

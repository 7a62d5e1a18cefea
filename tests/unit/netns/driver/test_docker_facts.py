"""Docker's answers in our types."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from netns.driver.docker_facts import end_restarts, network_fact, running
from netns.driver.engine_http import EngineError, NotFound
from netns.driver.facts import NetworkFact, Running


def test_a_network() -> None:
    document = {
        "Id": "a", "Name": "acme", "Driver": "egress:latest", "Options": {"tenant": "acme"},
        "IPAM": {"Config": [{"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1"}]},
    }  # fmt: skip
    assert network_fact(document) == NetworkFact(
        "a", "acme", "egress", "acme", IPv4Network("172.20.0.0/16"), IPv4Address("172.20.0.1")
    )


@pytest.mark.parametrize("driver", ["./egress", "x:/../egress", "registry:5000/vendor/egress"])
def test_a_networks_driver_is_the_name_that_was_given(driver: str) -> None:
    assert network_fact({"Id": "a", "Name": "n", "Driver": driver}).driver == driver


@pytest.mark.parametrize(
    "ipam", [None, {}, {"Config": None}, {"Config": []}, {"Config": [{"Subnet": "fd00::/64"}]}]
)
def test_a_network_without_ipv4(ipam: object) -> None:
    fact = network_fact({"Id": "a", "Name": "none", "Driver": "null", "Options": None, "IPAM": ipam})
    assert (fact.pool, fact.gateway, fact.tenant) == (None, None, "")


class Answering:
    """An engine with one container; `refusal` is what it answers to a change."""

    def __init__(self, policy: str | None, refusal: Exception | None = None) -> None:
        self.policy = policy
        self.refusal = refusal
        self.changes: list[tuple[str, str, Any]] = []

    def ask(self, target: str, method: str = "GET", message: Any = None) -> Any:
        if method == "GET":
            return {"HostConfig": {"RestartPolicy": {"Name": self.policy}} if self.policy is not None else {}}
        self.changes.append((target, method, message))
        if self.refusal is not None:
            raise self.refusal
        return {}


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_a_restart_policy_is_ended(policy: str) -> None:
    engine = Answering(policy)
    end_restarts(engine, "c1")  # type: ignore[arg-type]  # its one method
    assert engine.changes == [("/containers/c1/update", "POST", {"RestartPolicy": {"Name": "no"}})]


@pytest.mark.parametrize("policy", ["no", "", None])
def test_a_container_without_one_is_not_changed(policy: str | None) -> None:
    """Docker refuses the change for one of `--rm`."""
    engine = Answering(policy)
    end_restarts(engine, "c1")  # type: ignore[arg-type]  # its one method
    assert engine.changes == []


@pytest.mark.parametrize("gone", [NotFound("no such container", 404), EngineError("being removed", 409)])
def test_a_container_that_goes_meanwhile_is_no_error(gone: EngineError) -> None:
    end_restarts(Answering("always", gone), "c1")  # type: ignore[arg-type]  # its one method


def test_an_engine_that_does_not_do_it_is_told_of() -> None:
    with pytest.raises(EngineError, match="disk"):
        end_restarts(Answering("always", EngineError("disk full", 500)), "c1")  # type: ignore[arg-type]  # its one method


def test_a_container_that_runs() -> None:
    networks = {
        "acme": {"NetworkID": "a1", "EndpointID": "e1"},
        "web": {"NetworkID": "b1", "EndpointID": "e2"},
    }
    document = {"Id": "c1", "HostConfig": {"NetworkMode": "acme"}, "NetworkSettings": {"Networks": networks}}
    assert running(document) == Running("c1", ("acme", "acme", "web", "a1", "b1"), ("e1", "e2"))


@pytest.mark.parametrize(
    "part", [{}, {"NetworkSettings": None, "HostConfig": None}, {"NetworkSettings": {"Networks": {}}}]
)
def test_a_container_without_networks(part: dict[str, Any]) -> None:
    assert running({"Id": "c1"} | part) == Running("c1", ("",), ())

"""One view of a container, asked for or there."""

from __future__ import annotations

import pytest
from requests_to_docker import ACME, NET, WEB, create, inspected

from netns.driver.container_spec import Writer, networks_named, of_engine, of_request
from netns.driver.facts import NetworkFact
from netns.driver.go_json import Struct, UnclearBody


def test_references_without_dockers_own_names() -> None:
    body = create(NetworkingConfig={"EndpointsConfig": {"bridge": {}, "x": {"NetworkID": NET}, "acme": None}})
    spec = of_request(Struct.of(body, ""))
    assert spec.network_references() == ("acme", "x", NET)


def test_joined_containers_and_their_flags() -> None:
    host = {"NetworkMode": "container:a", "PidMode": "container:b", "VolumesFrom": ["c:ro", "a"]}
    spec = of_request(Struct.of(create(host=host), ""))
    assert spec.joined_containers() == {
        "a": "--network container:a",
        "b": "--pid container:b",
        "c": "--volumes-from c:ro",
    }
    assert spec.network_references() == ()


def test_from_the_engine() -> None:
    spec = of_engine(inspected(create(), ACME))
    assert spec.writer is Writer.ENGINE
    assert spec.network_references() == ("acme", NET)


def test_an_incomplete_description_is_unclear() -> None:
    with pytest.raises(UnclearBody):
        of_engine({"Config": {}, "HostConfig": {}})


def test_which_network_a_reference_means() -> None:
    twin = NetworkFact("d" * 64, "acme", "bridge")
    every = (ACME, WEB, twin)
    assert networks_named(NET, every) == (ACME,)
    assert networks_named("acme", every) == (ACME, twin)
    assert networks_named(NET[:5], every) == (ACME,)
    assert networks_named("", every) == ()

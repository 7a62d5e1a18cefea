from __future__ import annotations

from dataclasses import replace

from appliance.endpoints import Endpoint
from appliance.gateway.places import Places

from .support import ENDPOINT


def of(container: str, tenant: str) -> Endpoint:
    return replace(ENDPOINT, id=container, tenant=tenant)


def test_a_container_has_an_eighth_whoever_else_floods() -> None:
    places = Places(32)
    one, other = of("e1", "acme"), of("e2", "umbrella")
    assert [places.take(one) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [places.take(other) for _ in range(6)] == [True] * 4 + [False] * 2
    places.give_back(one)
    assert not places.take(other)
    assert places.take(one)


def test_a_tenant_has_a_quarter_however_many_containers_it_has() -> None:
    places = Places(32)
    taken = [places.take(of(f"e{number}", "acme")) for number in range(12)]
    assert taken == [True] * 8 + [False] * 4
    assert places.take(of("x", "umbrella"))


def test_there_are_so_many_places_and_those_that_are_given_back_are_free() -> None:
    places = Places(2)
    endpoints = [of(f"e{number}", f"t{number}") for number in range(3)]
    assert [places.take(endpoint) for endpoint in endpoints] == [True, True, False]
    for endpoint in endpoints[:2]:
        places.give_back(endpoint)
    assert places.taken == 0
    assert places.take(endpoints[2])


def test_a_place_is_not_split() -> None:
    places = Places(1)
    assert places.take(of("e1", "acme"))
    assert not places.take(of("e2", "umbrella"))

"""The resolver's parts, wired to recorder fakes."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from twisted.internet.task import Clock

from appliance.endpoints import Endpoint
from appliance.outgoing.deadlines import Deadlines
from appliance.resolver.answering import Answering, Asker
from appliance.resolver.lookup import Lookup
from appliance.telling import Telling

from .fakes import FakeAudit, FakeUpstream, Policies


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def policies():
    return Policies()


@pytest.fixture
def upstream():
    return FakeUpstream()


@pytest.fixture
def audit():
    return FakeAudit()


@pytest.fixture
def lookup(policies, upstream, clock):
    own = frozenset({IPv4Address("203.99.99.1")})
    return Lookup(policies, upstream, clock, min_ttl=5, max_ttl=300, own=own)


@pytest.fixture
def deadlines(clock):
    return Deadlines(clock)


@pytest.fixture
def telling(audit, clock, deadlines):
    return Telling(audit, deadlines, lambda: int(clock.seconds() * 1e9))


@pytest.fixture
def answering(lookup, policies, audit, clock, telling):
    return Answering(lookup, policies, audit, clock, per_second=50, telling=telling)


@pytest.fixture
def endpoint():
    return Endpoint("e1", "n1", "acme", IPv4Address("127.0.0.1"), "lo", 1, "c1", "job", "r1")


@pytest.fixture
def asker(endpoint):
    return Asker(endpoint, "127.0.0.1:4000", IPv4Address("172.18.0.1"), "udp")

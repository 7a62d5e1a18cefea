from __future__ import annotations

import pytest

from appliance.gateway.origin import Origin, is_own, origin_of
from appliance.names import HostName

from .support import GATEWAY, PUBLIC, SITE, plain, request, secured


def reason(outcome) -> str:
    assert not isinstance(outcome, Origin)
    return outcome.reason


def test_origin_form_is_for_the_address_connected_to() -> None:
    assert origin_of(plain(), request()) == Origin("http", SITE, 80, pin=True)
    assert origin_of(plain(port=8080), request()) == Origin("http", SITE, 8080, pin=True)
    assert origin_of(plain(port=8080), request(host="site.net:8080")).port == 8080
    assert reason(origin_of(plain(port=8080), request(host="site.net:80"))) == "port-mismatch"


def test_absolute_form_is_for_what_it_says() -> None:
    assert origin_of(plain(GATEWAY, 3128), request("http://site.net/x")) == Origin("http", SITE, 80)
    outcome = origin_of(plain(GATEWAY, 3128), request("http://site.net:81/x", "site.net:81"))
    assert outcome == Origin("http", SITE, 81)


def test_inside_tls_the_server_name_rules_d4() -> None:
    assert origin_of(secured(), request()) == Origin("https", SITE, 443)
    assert origin_of(secured(), request(host="SITE.net.:443")) == Origin("https", SITE, 443)
    assert reason(origin_of(secured(), request(host="other.net"))) == "host-not-server-name"
    assert reason(origin_of(secured(), request(host="site.net:80"))) == "port-mismatch"
    assert reason(origin_of(secured(), request("http://site.net/"))) == "target-form"
    assert (
        reason(origin_of(secured(), request("site.net:443", "site.net:443", "CONNECT")))
        == "connect-in-tunnel"
    )


@pytest.mark.parametrize(
    ("channel", "head", "own"),
    [
        (plain(GATEWAY), request("/x", "gateway.egress.internal"), True),
        (plain(PUBLIC), request("/x", "gateway.egress.internal"), True),
        (plain(GATEWAY), request("/.well-known/egress/ca.pem", str(GATEWAY)), True),
        (plain(GATEWAY), request("/x", str(GATEWAY)), False),
        (plain(PUBLIC), request("/.well-known/egress/ca.pem", str(PUBLIC)), False),
        (plain(GATEWAY), request("/.well-known/egress/ca.pem", "10.0.0.1"), False),
        (plain(GATEWAY), request("/.well-known/egress/ca.pem", "site.net"), False),
        (secured(HostName("gateway.egress.internal")), request("/x", "gateway.egress.internal"), False),
    ],
)
def test_what_is_the_gateways_own(channel, head, own) -> None:
    assert is_own(channel, head) is own

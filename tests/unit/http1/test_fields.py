"""Which fields travel (attack E9)."""

from __future__ import annotations

import pytest

from appliance.http1.fields import (
    HOP_BY_HOP,
    NEVER_NOMINATED,
    REQUEST_SINGLETONS,
    RESPONSE_SINGLETONS,
    travels_in_request,
    travels_in_response,
)

NONE: frozenset[bytes] = frozenset()


@pytest.mark.parametrize(
    "name",
    [
        b"x-original-url", b"x-rewrite-url", b"x-forwarded-host", b"x-forwarded-for", b"x_forwarded_for",
        b"forwarded", b"x-upstream-https-proxy", b"proxy-authorization", b"proxy-connection", b"proxy_x",
        b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
        b"host", b"content-length", b"expect", b"x-http-method-override", b"x_original_url", b"via",
        b"x-override-url", b"x-forwarded", b"forwarded-for", b"x-forward-for", b"x-forwarder-for", b"x-azure-clientip",
        b"x-original-forwarded-for", b"x-custom-ip-authorization", b"x-middleware-subrequest",
    ],
)  # fmt: skip
def test_stays_here(name: bytes) -> None:
    assert not travels_in_request(name, NONE)


@pytest.mark.parametrize(
    "name",
    [b"accept", b"cookie", b"authorization", b"user-agent", b"x-api_key", b"api_key", b"range", b"proxyish"],
)
def test_travels(name: bytes) -> None:
    assert travels_in_request(name, NONE)
    assert not travels_in_request(name, frozenset({name}))


@pytest.mark.parametrize(
    "name",
    [
        b"alt-svc",
        b"connection",
        b"transfer-encoding",
        b"content-length",
        b"trailer",
        b"proxy-authenticate",
        b"keep-alive",
        b"close",
        b"upgrade",
        b"proxy-connection",
        b"proxy-status",
    ],
)
def test_response_field_stays_here(name: bytes) -> None:
    assert not travels_in_response(name)


@pytest.mark.parametrize(
    "name", [b"set-cookie", b"location", b"server", b"via", b"www-authenticate", b"content-encoding"]
)
def test_response_field_travels(name: bytes) -> None:
    assert travels_in_response(name)


def test_names_are_in_lower_case() -> None:
    for names in (HOP_BY_HOP, NEVER_NOMINATED, REQUEST_SINGLETONS, RESPONSE_SINGLETONS):
        assert all(name == name.lower() for name in names)


def test_framing_and_identity_are_single_and_never_nominated() -> None:
    assert {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
    } <= REQUEST_SINGLETONS & NEVER_NOMINATED
    assert {b"content-length", b"transfer-encoding"} <= RESPONSE_SINGLETONS

from __future__ import annotations

import json

import pytest

from appliance.gateway import trust

from .support import GATEWAY, caller, request, worker

HOST = "gateway.egress.internal"


def test_the_ca_is_served_as_it_is() -> None:
    page = trust.page(request("/.well-known/egress/ca.pem", HOST), worker(), caller(GATEWAY))
    head, body = page.split(b"\r\n\r\n")
    assert body == b"root"
    assert b"Content-Length: 4" in head


def test_status_tells_the_caller_about_itself_alone() -> None:
    page = trust.page(request("/.well-known/egress/status", HOST), worker(), caller(GATEWAY))
    status = json.loads(page.split(b"\r\n\r\n")[1])
    assert (status["tenant"], status["address"]) == ("acme", "172.18.0.2")


@pytest.mark.parametrize(
    "head",
    [
        request("/.well-known/egress/", HOST),
        request("/.well-known/egress/ca.pem?x", HOST),
        request("/.well-known/egress/ca.pem", HOST, "DELETE"),
        request("/metrics", HOST),
    ],
)
def test_nothing_else_is_served_a16(head) -> None:
    assert trust.page(head, worker(), caller(GATEWAY)) is None


def test_head_gets_the_head_alone() -> None:
    page = trust.page(request("/.well-known/egress/ca.pem", HOST, "HEAD"), worker(), caller(GATEWAY))
    assert page.endswith(b"\r\n\r\n")

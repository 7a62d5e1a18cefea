"""What `/execute` is asked to send: one plain request for a host by name, or nothing."""

from __future__ import annotations

import pytest

from appliance.broker.api.intended import Intended, account_of, holds, intended
from appliance.broker.api.messages import ExecuteWish
from appliance.names import HostName
from appliance.refusal import Refusal
from tests.unit.broker.calls.support import account, policy_of

HOST = HostName("api.example.com")


def wish(**changes: object) -> ExecuteWish:
    good = {
        "account": "crm", "url": "https://api.example.com/data/1?page=2", "method": "POST",
        "headers": {"Content-Type": "application/json"}, "body": '{"title":"ü"}',
    }  # fmt: skip
    return ExecuteWish.model_validate(good | changes)


def test_a_request_is_as_the_provider_would_get_it() -> None:
    made = intended(wish())
    assert isinstance(made, Intended)
    head = made.head
    assert (head.method, str(head.host), head.path, head.query) == (
        "POST", "api.example.com", "/data/1", "page=2",
    )  # fmt: skip
    assert head.content_length == len(made.body) == 14
    assert (made.host, made.port) == (HOST, 443)
    assert intended(wish(url="https://api.example.com:8443")).port == 8443
    assert intended(wish(body=None, method="GET")).head.content_length is None
    assert intended(wish(body="")).head.content_length == 0


@pytest.mark.parametrize(
    "url",
    [
        "/data/1", "//api.example.com/data/1", "http://api.example.com/", "api.example.com:443", "", "*",
        "https://user@api.example.com/", "https://api.example.com@evil.net/", "https://10.0.0.1/",
        "https://[::1]/", "https://api.example.com/#x", "https://api.example.com/a b",
        "https://api.example.com/\r\nHost: evil.net", "https://api.example.com\\@evil.net/",
        "https:///data", "https://api.example.com:0/", "https://api.example.com:99999/",
        "https://2130706433/", "https://api.example.com?x=1", "HTTPS://api.example.com/",
        "https://\uff41pi.example.com/", "https://api.example.com/\u2028", "ftp://api.example.com/",
        "https://api.example.com/data/../x", "https://api.example.com//evil.net/",
        "https://api.example.com/%2e%2e/x",
    ],
)  # fmt: skip
def test_000_26_000_40_a_url_says_where_in_one_way_alone(url: str) -> None:
    made = intended(wish(url=url))
    if isinstance(made, Intended):
        assert (made.host, made.head.path) in {(HOST, "/x"), (HOST, "/evil.net/")}
    else:
        assert made.status == 400


@pytest.mark.parametrize("method", ["CONNECT", "HEAD", "TRACE", "get", "GET ", "", "G\r\nET", "PRI *"])
def test_000_26_a_method_is_one_that_is_made(method: str) -> None:
    assert isinstance(intended(wish(method=method)), Refusal)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Host", "evil.net", "field-not-allowed"), ("hOsT", "evil.net", "field-not-allowed"),
        ("X-Forwarded-Host", "evil.net", "field-not-allowed"), ("X-Host", "evil.net", "field-not-allowed"),
        ("X_Forwarded_Host", "evil.net", "field-not-allowed"), ("Forwarded", "host=e", "field-not-allowed"),
        ("Content-Length", "1", "field-not-allowed"), ("Transfer-Encoding", "chunked", "field-not-allowed"),
        ("Connection", "close", "field-not-allowed"), ("Upgrade", "websocket", "field-not-allowed"),
        ("X-HTTP-Method-Override", "DELETE", "field-not-allowed"),
        ("A", "b\r\nHost: evil.net", "field-invalid"), ("A: b\r\nHost", "x", "field-invalid"),
        ("A b", "x", "field-invalid"), ("", "x", "field-invalid"), ("A", "ü", "field-invalid"),
        ("A", "b\nc", "field-invalid"), ("A", "\x00", "field-invalid"),
    ],
)  # fmt: skip
def test_000_26_no_field_decides_for_what_host_the_request_is(name: str, value: str, reason: str) -> None:
    refusal = intended(wish(headers={name: value}))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_field_twice_in_two_spellings_is_refused() -> None:
    refusal = intended(wish(headers={"Content-Type": "a/b", "content-type": "c/d"}))
    assert isinstance(refusal, Refusal)


def test_a_connector_is_the_one_account_that_covers_the_host() -> None:
    policy = policy_of(account())
    named = account_of(wish(), policy, HOST, 443)
    assert named == account_of(wish(account=None, connector="crm-api"), policy, HOST, 443)
    for refused in (
        account_of(wish(account="other"), policy, HOST, 443),
        account_of(wish(account=None, connector="other"), policy, HOST, 443),
        account_of(wish(account=None, connector="crm-api"), policy, HostName("evil.net"), 443),
    ):
        assert isinstance(refused, Refusal)
        assert refused.reason == "account-not-bound"


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://api.example.com/?t=tok"}, {"headers": {"X": "a tok"}}, {"headers": {"tok": "x"}},
        {"body": "{tok}"},
    ],
)  # fmt: skip
def test_000_62_a_token_is_seen_wherever_it_stands(change: dict) -> None:
    assert holds(wish(**change), "tok")
    assert not holds(wish(), "tok")

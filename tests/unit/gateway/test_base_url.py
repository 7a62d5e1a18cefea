"""Base-URL mode: what the path behind our own name stands for."""

from __future__ import annotations

import pytest

from appliance.gateway.base_url import provider_request
from appliance.gateway.channel import Channel
from appliance.gateway.exchange import Exchange
from appliance.gateway.judging import judge, judge_connect
from appliance.gateway.opening import Admitted, judge_hello
from appliance.names import INTEGRATIONS_NAME, Authority, HostName
from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.rules import AllowRule
from appliance.policy.slot import Slot
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.refusal import Refusal

from .support import caller, request, web_policy, worker

API = HostName("api.example.com")


def bound() -> Bound:
    where = HostPattern.of(API.text)
    group = CompiledGroup("chat", Slot(style="bearer"), "read")
    account = CompiledAccount(
        "crm-acme", "crm", "CRM", "crm", frozenset({"static"}), (where,), 443, {"chat": group}, "accounts[0]",
        base_url="crm", base_host=API.text,
    )  # fmt: skip
    verdict = Verdict(
        Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts[0]", "", account="crm-acme", group="chat"
    )
    rule = AllowRule(
        "accounts[0]", frozenset({("https", 443)}), frozenset({"GET"}), (PathPattern.parse("/v1/**"),),
        None, frozenset(), False, 0, verdict, repeatable=frozenset(),
    )  # fmt: skip
    return Bound.of([account], [(where, rule)])


def asked(target: str, host: str = INTEGRATIONS_NAME.text):
    return request(target, host)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/crm/v1/a", "/v1/a"),
        ("/crm/v1/a?b=c", "/v1/a"),
        ("/crm", "/"),
        ("/crm/", "/"),
        ("/crm/crm/x", "/crm/x"),
    ],
)
def test_000_59_the_first_segment_names_the_integration(target: str, path: str) -> None:
    found = provider_request(web_policy(bound=bound()), asked(target))
    assert not isinstance(found, Refusal)
    head, origin = found
    assert (head.path, head.host, origin.name, origin.port, origin.scheme) == (
        path,
        API,
        API.text,
        443,
        "https",
    )
    assert head.query == asked(target).query


@pytest.mark.parametrize("target", ["/", "/other/v1", "/CRM/v1", "/crm-acme/v1", "/%63rm2/v1", "/v1/crm"])
def test_an_integration_that_is_not_bound_is_named_in_the_refusal(target: str) -> None:
    found = provider_request(web_policy(bound=bound()), asked(target))
    assert isinstance(found, Refusal)
    assert found.reason == "integration-not-bound"


def test_another_tenant_has_none() -> None:
    found = provider_request(web_policy(), asked("/crm/v1/a"))
    assert isinstance(found, Refusal)


@pytest.mark.parametrize("name", [INTEGRATIONS_NAME, None], ids=["TLS", "plain"])
def test_what_comes_out_is_judged_as_the_providers_request(name: HostName | None) -> None:
    made = worker(policy=web_policy(bound=bound()))
    port = 80 if name is None else 443
    channel = Channel(caller(port=port), port, name)
    exchange = Exchange("id", asked("/crm/v1/a"), 0.0)
    assert judge(made, channel, exchange) is None
    assert exchange.account == "crm-acme"
    assert exchange.origin is not None
    assert exchange.origin.host_field == API.text
    denied = Exchange("id", asked("/crm/other"), 0.0)
    refusal = judge(made, channel, denied)
    assert refusal is not None
    assert refusal.reason == "path-not-allowed"


def test_tls_and_tunnels_for_the_name_are_opened_and_for_other_ports_are_not() -> None:
    made = worker(policy=web_policy(bound=bound()))
    channel = Channel(caller(port=3128), 3128, proxied=True)
    opened = request(f"{INTEGRATIONS_NAME.text}:443", f"{INTEGRATIONS_NAME.text}:443", "CONNECT")
    assert judge_connect(made, channel, opened) is None
    other = request(f"{INTEGRATIONS_NAME.text}:8443", f"{INTEGRATIONS_NAME.text}:8443", "CONNECT")
    refusal = judge_connect(made, channel, other)
    assert refusal is not None


def test_the_name_has_no_pin_to_be_compared() -> None:
    class Hello:
        server_name = INTEGRATIONS_NAME.text.encode()

    found = judge_hello(Hello(), Authority(INTEGRATIONS_NAME, 443), 443, web_policy())
    assert isinstance(found, Admitted)
    assert found.standing is None
    assert not found.passthrough

"""The evaluator's questions agree, whatever the policy: a request that is allowed has a host and a name that are."""

from __future__ import annotations

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.bound import Bound
from appliance.policy.compile_rule import Origin, compile_rules
from appliance.policy.documents import OperatorRule, Rule
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import PrivateException, Profile, TenantPolicy
from appliance.policy.verdict import Reason, RequestFacts
from appliance.yamldoc import Document
from tests.unit.policy.bindings import CRM, bound_policy
from tests.unit.policy.written import host

_NAMES = st.sampled_from(
    ["a.example.com", "b.a.example.com", "c.b.a.example.com", "evil.example.com", "x.evil.example.com",
     "db.corp.internal", "10.20.0.5", "1.1.1.1", "localhost", "dns.google", "pin.example.com"]
)  # fmt: skip
_PATTERNS = st.sampled_from(
    ["a.example.com", "*.a.example.com", "*.example.com", "evil.example.com", "*.evil.example.com", "dns.google",
     "db.corp.internal", "10.20.0.5", "pin.example.com"]
)  # fmt: skip
_METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE"])
_SCHEMES = st.sampled_from(["http", "https"])
_PORTS = st.sampled_from([80, 443, 5432, 8080])
_PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c"])
_UPGRADES = st.sampled_from([None, None, "websocket", "h2c"])
_REQUESTS = st.builds(RequestFacts, _METHODS, _SCHEMES, _NAMES.map(host), _PORTS, _PATHS, upgrade=_UPGRADES)


def _accounts(host: str) -> Bound:
    text = CRM.replace("api.crm.example", f"'{host}'").replace("/data/*", "/a/**")
    written = "accounts: [{name: a, integration: crm, tenants: [acme], groups: [read]}]"
    return bound_policy(written, own={"crm": text}).bound


_BOUND = [
    Bound(),
    *map(_accounts, ("a.example.com", "*.a.example.com", "pin.example.com", "evil.example.com")),
]


def _maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | st.lists(strategy, min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, object]:
    written: dict[str, object] = {
        "hosts": draw(st.lists(_PATTERNS, min_size=1, max_size=2, unique=True)),
        "ports": draw(_maybe(_PORTS)),
        "schemes": draw(_maybe(_SCHEMES)),
        "methods": draw(_maybe(_METHODS)),
        "paths": draw(_maybe(st.sampled_from(["/**", "/a", "/a/**", "/*/b"]))),
        "upgrade": draw(st.sampled_from([None, None, "websocket"])),
    }
    return {key: value for key, value in written.items() if value is not None}


@st.composite
def policies(draw: st.DrawFn) -> TenantPolicy:
    nowhere = Document(None, {}, "generated.yaml")

    def layer(key: str, items: list[dict[str, object]], origin: Origin) -> list[object]:
        models = [
            OperatorRule.model_validate(item) if origin is Origin.OPERATOR
            else Rule.model_validate({**item, "name": f"r{i}", "effect": "deny" if key == "deny" else "allow"})
            for i, item in enumerate(items)
        ]  # fmt: skip
        placed, _ = compile_rules(nowhere, (key,), models, origin)
        return [(p.pattern, p.rule) for p in placed]

    few = st.lists(rules(), max_size=3)
    operator = layer("allow", draw(few), Origin.OPERATOR) + layer("deny", draw(few), Origin.OPERATOR)
    own = layer("allow", draw(few), Origin.TENANT) + layer("deny", draw(few), Origin.TENANT)
    exceptions = draw(st.lists(st.sampled_from([
        PrivateException(IPv4Network("10.20.0.0/24"), 443, None, "e0"),
        PrivateException(IPv4Network("10.30.0.0/24"), 5432, host("db.corp.internal"), "e1"),
    ]), unique=True))  # fmt: skip
    return TenantPolicy(
        "acme",
        profile=draw(st.sampled_from(Profile)),
        operator=RuleIndex(operator),
        own=RuleIndex(own),
        exceptions=tuple(exceptions),
        passthrough=draw(st.sampled_from([{}, {("pin.example.com", 443): "p0"}])),
        bound=draw(st.sampled_from(_BOUND)),
    )


@given(policies(), _REQUESTS)
def test_an_allowed_request_has_an_allowed_host_and_name(policy: TenantPolicy, facts: RequestFacts) -> None:
    allowed = policy.judge(facts).allowed
    by_scheme = policy.judge_host(facts.scheme, facts.host, facts.port).allowed
    unknown = policy.judge_host(None, facts.host, facts.port).allowed
    assert by_scheme or not allowed
    assert unknown or not by_scheme
    assert policy.judge_name(facts.host).allowed or not unknown
    if policy.passthrough(facts.host, facts.port):
        assert policy.judge_host("https", facts.host, facts.port).allowed


@given(policies(), _REQUESTS)
def test_only_a_websocket_that_was_asked_for_is_ever_allowed(
    policy: TenantPolicy, facts: RequestFacts
) -> None:
    verdict = policy.judge(facts)
    assert verdict.upgrade == (facts.upgrade if verdict.allowed else None)
    assert verdict.upgrade in {None, "websocket"}
    if verdict.upgrade:
        assert (facts.method, verdict.reason) in {
            ("GET", Reason.ALLOWED_BY_RULE), ("GET", Reason.ALLOWED_BY_OPERATOR),
        }  # fmt: skip


@given(policies(), _REQUESTS)
def test_what_was_consulted_agrees_with_the_verdict(policy: TenantPolicy, facts: RequestFacts) -> None:
    verdict = policy.judge(facts)
    seen = list(policy.consulted(facts))
    if verdict.account is not None:
        assert verdict.reason is Reason.ALLOWED_BY_INTEGRATION
        assert facts.scheme == "https"
    elif policy.bound.accounts and facts.scheme == "https":
        account = policy.account("a")
        assert account is not None
        assert not (verdict.allowed and account.covers(str(facts.host), facts.port))
    if verdict.reason in {
        Reason.ALLOWED_BY_OPERATOR, Reason.ALLOWED_BY_RULE, Reason.ALLOWED_BY_INTEGRATION,
    }:  # fmt: skip
        assert any(c.rule == verdict.rule and c.result == "allows" for c in seen)
    if verdict.allowed:
        assert not any(c.stage == "operator deny" and c.result == "denies" for c in seen)
    if verdict.reason in {Reason.ALLOWED_BY_PROFILE, Reason.ALLOWED_BY_RULE, Reason.ALLOWED_BY_EXCEPTION}:
        assert not any(c.stage == "tenant deny" and c.result == "denies" for c in seen)

"""The index by host, and media types read without leniency."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy import rules
from appliance.policy.compile_rule import Origin, compile_rules
from appliance.policy.documents import Rule
from appliance.policy.hosts import HostPattern
from appliance.policy.rules import AllowRule, DenyRule, RuleIndex, media_type, parents
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.stepwise import finish
from appliance.yamldoc import Document
from tests.unit.policy.written import compiled, request


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ('multipart/form-data ;boundary="a b"', "multipart/form-data"),
        ("application/vnd.api+json;v=1;w=2", "application/vnd.api+json"),
        (None, None),
        ("", None),
        ("application", None),
        ("application/json; x", None),
        ("application/json;", None),
        ("application/json, text/plain", None),
        ("application/json\n", None),
        (" application/json", None),
        ('application/json; a="b', None),
        ("text/plain; a=b application/json", None),
    ],
)
def test_media_type(field: str | None, expected: str | None) -> None:
    assert media_type(field) == expected


def test_an_unreadable_content_type_is_every_denied_one() -> None:
    policy = compiled("""
        rules:
          - {name: up, hosts: [a.example.com], methods: [POST], content_types: [text/plain, text/html]}
          - {name: no, effect: deny, hosts: [a.example.com], content_types: [text/html]}
        """)
    url = "https://a.example.com/"
    assert policy.judge(request(url, "POST", content_type="text/plain", content_length=1)).allowed
    for found in ("text/html", "text/html;", "", None):
        verdict = policy.judge(request(url, "POST", content_type=found, content_length=1))
        assert verdict.reason == "request-denied-by-rule"


def test_a_deny_rule_by_query_key_needs_only_one() -> None:
    policy = compiled("rules: [{name: no, effect: deny, hosts: [a.example.com], query: [token, key]}]")
    assert not policy.judge(request("https://a.example.com/?a=1&key=2")).allowed
    assert not policy.judge(request("https://a.example.com/?%6Bey=2")).allowed
    assert not policy.judge(request("https://a.example.com/?a=1;key=2")).allowed
    assert policy.judge(request("https://a.example.com/?keys=2")).allowed


@pytest.mark.parametrize(
    "path",
    ["/admin/x", "/admin;a=b/x", "/admin;/x", "/admin%3Ba/x", "/%40evil/pkg", "/@evil%2Fpkg", "/%40evil%2fpkg/-/a.tgz",
     "/@evil;x%2Fy/pkg"],
)  # fmt: skip
def test_a_deny_rule_by_path_holds_however_a_server_reads_it(path: str) -> None:
    policy = compiled("""
        rules:
          - {name: all, hosts: [a.example.com], paths: [/**], encoded_slash: true}
          - {name: no, effect: deny, hosts: [a.example.com], paths: [/admin/**, /@evil/**]}
        """)
    facts = request(f"https://a.example.com{path}")
    assert policy.judge(facts).reason == "request-denied-by-rule"
    for other in ("/admin", "/administration;/x", "/@good%2Fpkg", "/%40evil2/pkg"):
        assert policy.judge(request(f"https://a.example.com{other}")).allowed, other


def test_parents_of_a_name() -> None:
    assert list(parents("a.b.c")) == ["b.c", "c"]
    assert list(parents("c")) == []


def test_buckets_come_most_specific_first() -> None:
    policy = compiled("""
        rules:
          - {name: wide, hosts: ["*.example.com"]}
          - {name: narrow, hosts: ["*.a.example.com"], methods: [OPTIONS]}
          - {name: exact, hosts: [b.a.example.com], methods: [DELETE]}
        """)
    seen = [c.rule.split()[-1] for c in policy.consulted(request("https://b.a.example.com/"))]
    assert seen == ["'exact'", "'narrow'", "'wide'"]


ANY_RULE = AllowRule(
    label="",
    services=frozenset({("https", 443)}),
    methods=frozenset({"GET"}),
    paths=(),
    query=None,
    content_types=frozenset(),
    encoded_slash=False,
    max_body=0,
    verdict=Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_RULE, "", ""),
)
NAMES = [".".join(labels) for length in (1, 2, 3, 4) for labels in product("ab", repeat=length)]
PATTERNS = st.builds(HostPattern, st.sampled_from([*NAMES, "", "b.", ".b", "3.4"]), st.booleans())


@given(patterns=st.lists(PATTERNS, max_size=6))
def test_no_rule_of_a_host_is_passed_over(patterns: list[HostPattern]) -> None:
    """Of suffixes, only depths that some rule has are looked at."""
    entries = [
        (pattern, replace(ANY_RULE, label=f"{number} {pattern}")) for number, pattern in enumerate(patterns)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rules, "ENTRIES_IN_A_STEP", 1)
        made = finish(RuleIndex.making(entries))
    for index in (RuleIndex(entries), made):
        for host in (*NAMES, "", ".", "a.", "a.b.", ".a", "a..b", "1.2.3.4", "a.b.a.b.a"):
            wanted = [HostPattern(host, False), *(HostPattern(suffix, True) for suffix in parents(host))]
            expected = [rule.label for pattern in wanted for own, rule in entries if own == pattern]
            assert [rule.label for bucket in index.find(host) for rule in bucket.allows] == expected


def many(count: int) -> TenantPolicy:
    rules = [
        Rule.model_validate({"name": f"r{i}", "hosts": [f"h{i}.example.com", f"*.s{i}.example.com"]})
        for i in range(count)
    ]
    placed, problems = compile_rules(Document(None, {}, "many.yaml"), ("rules",), rules, Origin.TENANT)
    assert not list(problems)
    return TenantPolicy("acme", profile=Profile.ALLOWLIST, own=RuleIndex((p.pattern, p.rule) for p in placed))


def test_a_verdict_costs_the_same_with_many_rules() -> None:
    """A scan of the rules would be a hundred times slower with a hundred times the rules; 3 allows for noise."""
    few, plenty = cost(30), cost(3000)
    assert plenty < 3 * few


def cost(count: int) -> float:
    policy = many(count)
    facts = [request(f"https://h{count - 1}.example.com/a"), request(f"https://x.s{count - 1}.example.com/")]
    assert all(policy.judge(f).allowed for f in facts)
    return min(timeit(lambda: [policy.judge(f) for f in facts], number=300) for _ in range(7))


def test_every_rule_of_a_policy_can_be_read_back_with_its_host() -> None:
    text = """
        rules:
          - {name: a, hosts: [a.example.com, '*.b.example.com']}
          - {name: d, effect: deny, hosts: [d.example.com]}
    """
    operator, own = compiled(text, operator="deny:\n  - {hosts: [c.example.com]}\n").layers
    assert {(str(host), type(rule).__name__) for host, rule in own.entries()} == {
        ("a.example.com", "AllowRule"),
        ("*.b.example.com", "AllowRule"),
        ("d.example.com", "DenyRule"),
    }
    assert [str(host) for host, _ in operator.entries()] == ["c.example.com"]


def test_a_rule_alone_on_its_host_is_its_own_bucket() -> None:
    index = compiled("""
        rules:
          - {name: lone, hosts: [a.example.com]}
          - {name: no, effect: deny, hosts: ['*.example.org']}
          - {name: one, hosts: [b.example.com], paths: [/1]}
          - {name: two, hosts: [b.example.com], paths: [/2]}
          - {name: not, effect: deny, hosts: [b.example.com], paths: [/3]}
        """).layers[1]
    ((lone,), (no,), (several,)) = map(index.find, ("a.example.com", "x.example.org", "b.example.com"))
    assert isinstance(lone, AllowRule)
    assert (lone.allows, lone.denies) == ((lone,), ())
    assert isinstance(no, DenyRule)
    assert (no.allows, no.denies) == ((), (no,))
    assert [rule.label.split()[-1] for rule in (*several.allows, *several.denies)] == [
        "'one'",
        "'two'",
        "'not'",
    ]
    assert len(index.held()) == 3

"""Layers from documents: ceilings, exceptions, named policies, and hosts that only the operator can open."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from appliance.policy.compile import OperatorLayer, compile_named, compile_operator, compile_tenant
from appliance.policy.rules import RuleIndex
from tests.unit.policy.written import (
    compiled,
    document,
    error_lines,
    operator_layer,
    operator_problems,
    problems_of,
)


@pytest.mark.parametrize("text", ["", "{}", "# only a comment\n", "---\n"])
def test_an_empty_document_is_no_default_g1_g2(text: str) -> None:
    """A file cut off by a full disk must not turn an allowlist into the default profile."""
    (line,) = error_lines(problems_of(text))
    assert "the document is empty; write some of: description, profile" in line
    assert bool(error_lines(operator_problems(text))) == (text != "{}")


def test_an_operator_says_in_so_many_words_that_there_are_no_rules() -> None:
    assert operator_layer("{}") == OperatorLayer()


def test_caps_have_ceilings_that_the_operator_sets() -> None:
    assert (
        "above the operator's ceiling; write 32KiB or less"
        in error_lines(problems_of("caps: {uri: 33KiB}"))[0]
    )
    operator = "caps: {uri: 64KiB, request_body: 1MiB}"
    assert compiled("caps: {uri: 33KiB}", operator).caps.uri_bytes == 33 * 1024
    # A default above the ceiling bows to it without a word.
    assert compiled("profile: allowlist", operator).caps.request_body_bytes == 2**20
    (line,) = error_lines(problems_of("caps:\n  request_body: 2MiB", operator))
    assert line.startswith("acme.yaml:2:3: caps.request_body: 2MiB is above")


@pytest.mark.parametrize(
    ("host", "operator"),
    [
        ("db.corp.internal", None),
        ("'*.corp.internal'", None),
        ("localhost", None),
        ("10.0.0.1", None),
        ("8.8.8.8", None),
        ("'[::1]'", None),
        ("10.0.0.1", "exceptions: [{tenant: other, cidr: 10.0.0.0/24, port: 80}]"),
        ("10.0.1.1", "exceptions: [{tenant: acme, cidr: 10.0.0.0/24, port: 80}]"),
    ],
)
def test_a_tenant_cannot_open_what_is_the_operators(host: str, operator: str | None) -> None:
    (line,) = error_lines(problems_of(f"rules: [{{name: a, hosts: [{host}]}}]", operator))
    assert line.startswith("acme.yaml:1:27:")
    assert "in operator.yaml" in line


@pytest.mark.parametrize(
    ("host", "operator"),
    [
        ("db.corp.internal", "allow: [{hosts: ['*.corp.internal']}]"),
        (
            "db.corp.internal",
            "exceptions: [{tenant: acme, cidr: 10.0.0.0/24, port: 80, name: db.corp.internal}]",
        ),
        ("10.0.0.1", "exceptions: [{tenant: acme, cidr: 10.0.0.0/24, port: 80}]"),
    ],
)
def test_what_the_operator_opened_a_tenant_may_name(host: str, operator: str) -> None:
    assert not problems_of(f"rules: [{{name: a, hosts: [{host}]}}]", operator)


def test_a_deny_rule_may_name_anything() -> None:
    assert not problems_of("rules: [{name: a, effect: deny, hosts: ['*.internal', 10.0.0.1, '*.com']}]")


def test_a_policy_that_does_not_exist_or_has_errors() -> None:
    named = {"pypi": (), "npm": None}
    _, problems = compile_tenant(document("use: [pypii, npm, zzz]"), "acme", operator_layer(None), named)
    assert [str(p) for p in problems] == [
        "acme.yaml:1:7: there is no policy 'pypii'; did you mean 'pypi'?",
        "acme.yaml:1:14: policy 'npm' has errors; mend policies/npm.yaml",
        "acme.yaml:1:19: there is no policy 'zzz'; write policies/zzz.yaml, or use one of: npm, pypi",
    ]


def test_a_named_policy_must_have_rules() -> None:
    layer, problems = compile_named(document("description: nothing", "x.yaml"))
    assert layer is None
    assert "rules is missing" in str(problems[0])


def test_no_exception_reaches_the_appliances_own_link() -> None:
    text = document("exceptions: [{tenant: acme, cidr: 198.18.83.0/24, port: 80}]", "operator.yaml")
    assert compile_operator(text)[0] is not None
    layer, problems = compile_operator(text, (IPv4Network("198.18.83.0/30"),))
    assert layer is None
    assert "reaches the appliance's own link 198.18.83.0/30" in str(problems[0])


def test_an_exception_listed_twice() -> None:
    item = "{tenant: acme, cidr: 10.0.0.0/24, port: 80}"
    (line,) = error_lines(operator_problems(f"exceptions:\n  - {item}\n  - {item}"))
    assert line.startswith("operator.yaml:3:5: this exception is listed twice")


@pytest.mark.parametrize("text", ["allow: [{hosts: ['*.com']}]", "allow: [{hosts: ['*.a.example'], methods: [PUT]}]",
                                  "passthrough: [{hosts: ['*.example.com']}]", "passthrough: [{hosts: []}]"])  # fmt: skip
def test_the_operator_too_is_held_to_safe_hosts(text: str) -> None:
    assert error_lines(operator_problems(text))


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "evil.example", "::/0", "1.2.3", "''", "1.2.3.4/33"])
def test_a_range_that_is_none_is_told_with_its_place(wrong: str) -> None:
    (line,) = error_lines(operator_problems(f"deny_addresses:\n  - 198.51.100.0/24\n  - {wrong}\n"))
    assert line.startswith("operator.yaml:3:5:")
    assert "write it like 10.20.0.0/24" in line


def test_a_list_of_denied_addresses_is_neither_empty_nor_double() -> None:
    for text in ("deny_addresses: []", "deny_addresses: [1.2.3.0/24, 1.2.3.0/24]"):
        assert error_lines(operator_problems(text))
    assert operator_layer("deny_addresses: [1.2.3.4]").denied_addresses.networks == (IPv4Network("1.2.3.4"),)


def test_rules_of_a_document_with_errors_are_not_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of them for one host are an error, and cost more than all that is read."""
    monkeypatch.setattr(RuleIndex, "making", None)
    assert error_lines(problems_of("rules:\n- {name: a, hosts: ['*.com']}\n"))

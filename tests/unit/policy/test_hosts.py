"""Host patterns: suffix tricks, public suffixes, and names outside the public DNS (attack C9)."""

from __future__ import annotations

import pytest

from appliance.names import parse_host
from appliance.policy.hosts import (
    PUBLIC_RESOLVERS,
    HostPattern,
    is_public_resolver,
    is_special_use,
    parse_pattern,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("API.Example.com", HostPattern("api.example.com")),
        ("*.example.com", HostPattern("example.com", below=True)),
        ("*.b.example.co.uk", HostPattern("b.example.co.uk", below=True)),
        ("*.alice.github.io", HostPattern("alice.github.io", below=True)),
        ("bücher.example", HostPattern("xn--bcher-kva.example")),
        ("10.0.0.1", HostPattern("10.0.0.1")),
    ],
)
def test_patterns(text: str, expected: HostPattern) -> None:
    assert parse_pattern(text) == expected
    assert parse_pattern(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "*", "*.", "*.com", "*.co.uk", "*.github.io", "*.internal", "*.s3.amazonaws.com", "**.example.com",
        "*.*.example.com", "a.*.example.com", "*example.com", "example.*", "example.com.", "10.0.0.0/8", "0.0.0.0/0",
        "::/0", "10.0.0.0/255.0.0.0", "*.10.0.0.1", "127.1", "http://example.com", "example.com:443", "a_b.com", "",
        ".example.com", "*..com", "*.1.2.3.4",
    ],
)  # fmt: skip
def test_what_is_no_pattern_says_what_to_write_c9_g3(text: str) -> None:
    with pytest.raises(ValueError, match="; "):
        parse_pattern(text)


def test_a_deny_rule_may_take_a_whole_top_level_domain() -> None:
    assert parse_pattern("*.zip", public_suffix_safe=False) == HostPattern("zip", below=True)


def test_covering_keeps_to_label_edges_c9() -> None:
    below = parse_pattern("*.ok.example.com")
    assert below.covers(parse_pattern("a.ok.example.com"))
    assert below.covers(parse_pattern("*.a.ok.example.com"))
    assert below.covers(below)
    assert not below.covers(parse_pattern("ok.example.com"))
    assert not below.covers(parse_pattern("notok.example.com"))
    assert not below.covers(parse_pattern("*.example.com"))
    assert not parse_pattern("a.example.com").covers(parse_pattern("*.a.example.com"))


@pytest.mark.parametrize("name", ["localhost", "a.internal", "x.local", "b.c.onion", "nodots"])
def test_special_use(name: str) -> None:
    assert is_special_use(parse_host(name))


@pytest.mark.parametrize(
    "name", ["internal.example.com", "pypi.example", "local.net", "10.0.0.1", "pkg.lab-public"]
)
def test_not_special_use(name: str) -> None:
    assert not is_special_use(parse_host(name))


def test_public_resolvers_are_canonical_names_with_all_below() -> None:
    for name in PUBLIC_RESOLVERS:
        assert str(parse_host(name)) == name
        assert is_public_resolver(parse_host(f"x.{name}"))
    assert not is_public_resolver(parse_host("google"))
    assert not is_public_resolver(parse_host("notdns.google"))
    assert not is_public_resolver(parse_host("8.8.8.8"))

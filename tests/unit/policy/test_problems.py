"""Every fault has file, line, column, and what to write."""

from __future__ import annotations

import pytest

from appliance.policy.problems import PolicyError, Problem, Severity, errors
from appliance.yamldoc import Position
from tests.unit.policy.written import error_lines, operator_problems, problems_of

RULE = "rules: [{name: a, hosts: [a.example.com]%s}]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("profil: allowlist", "acme.yaml:1:1: unknown key 'profil'; did you mean 'profile'?"),
        ("zzz: 1", "acme.yaml:1:1: unknown key 'zzz'; known keys: description, profile, use, caps, limits, rules"),
        ("profile: open", "acme.yaml:1:1: profile: open is not known here; write 'read-only-web' or 'allowlist'"),
        ("rules: []", "acme.yaml:1:1: rules is empty; list at least one item, or leave out 'rules'"),
        ("rules: x", "acme.yaml:1:1: rules must be a list; write [x]"),
        ("caps: 1", "acme.yaml:1:1: caps must hold keys and values; write one `key: value` a line"),
        ("caps: {header: 1KiB}", "acme.yaml:1:8: unknown key 'header'; did you mean 'headers'?"),
        ("rules:\n  - hosts: [a.example.com]", "acme.yaml:2:5: rules[0].name is missing; write name: …"),
        (RULE % ", method: [GET]", "acme.yaml:1:43: unknown key 'method'; did you mean 'methods'?"),
        (RULE % ", methods: []", "rules[0].methods is empty; list at least one item, or leave out 'methods'"),
        (RULE % ", methods: [get]", "'get' is no method that can be allowed; write GET (methods are upper case)"),
        (RULE % ", methods: [TRACE]", "rules[0].methods[0]: TRACE can never be allowed; write GET"),
        (RULE % ", methods: [GET, GET]", "GET is listed twice; write it once"),
        (RULE % ", ports: [443, 443]", "443 is listed twice"),
        (RULE % ", ports: [0]", "rules[0].ports[0]"),
        (RULE % ", ports: ['443']", "rules[0].ports[0]"),
        (RULE % ", ports: [true]", "rules[0].ports[0]"),
        (RULE % ", query: []", "rules[0].query is empty"),
        (RULE % ", query: all", "rules[0].query: all is not known here; write 'any' or a list"),
        (RULE % ", query: ['a&b']", "no query key"),
        (RULE % ", content_types: ['Text/HTML; a=b']", "no media type in lower case without parameters"),
        (RULE % ", max_body: 0", "'0' is no size; write a number above 0"),
        (RULE % ", paths: [a]", "does not begin with a slash; write '/a'"),
        (RULE % ", encoded_slash: 1", "rules[0].encoded_slash"),
        (RULE % ", query: 5", "rules[0].query: 5 is not known here; write 'any' or a list"),
        ("profile: [allowlist]", "profile: ['allowlist'] is not known here"),
        ("caps: {uri: 0}", "acme.yaml:1:8: caps.uri: '0' is no size; write a number above 0"),
        ("caps: {uri: unlimited}", "caps.uri: 'unlimited' is no size"),
        ("rules: [{name: a, hosts: [10.0.0.0/8]}]", "write an operator exception for 10.0.0.0/8 in operator.yaml"),
        ("rules: [{name: a, hosts: ['a..example.com']}]", "acme.yaml:1:27: rules[0].hosts[0]: 'a..example.com' is no"),
        ("rules: [{name: a, hosts: [a.example.com.]}]", "ends with a dot; write 'a.example.com'"),
        ("rules: [{name: a, hosts: [1]}]", "1 is no text; write it in quotes"),
        ("[1, 2]", "the document must hold keys and values"),
        ("use: [../../etc/passwd]", "no policy name"),
    ],
)  # fmt: skip
def test_a_fault_points_to_its_place_and_says_what_to_write(text: str, line: str) -> None:
    found = error_lines(problems_of(text))
    assert found
    assert any(line in problem for problem in found), found
    assert all(problem.startswith(("acme.yaml:1:", "acme.yaml:2:")) for problem in found)


def test_one_fault_is_told_once() -> None:
    assert len(error_lines(problems_of(RULE % ", query: [1]"))) == 1


def test_all_faults_are_told_at_once() -> None:
    found = error_lines(problems_of("profil: x\ncaps: {uri: 0}\nrules: [{name: a, hosts: []}]"))
    assert [line.split(": ")[0] for line in found] == ["acme.yaml:2:8", "acme.yaml:3:19", "acme.yaml:1:1"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{tenant: acme, cidr: 0.0.0.0/0, port: 443}", "which nobody may except"),
        ("{tenant: acme, cidr: 127.0.0.1/32, port: 443}", "reaches 127.0.0.0/8"),
        ("{tenant: acme, cidr: 169.254.169.254/32, port: 80}", "reaches 169.254"),
        ("{tenant: acme, cidr: 100.64.0.0/10, port: 80}", "reaches 100.100.100.200/32"),
        ("{tenant: acme, cidr: 8.8.8.0/24, port: 80}", "not a private range"),
        ("{tenant: acme, cidr: 10.0.0.1/8, port: 80}", "no IPv4 network"),
        ("{tenant: acme, cidr: 'fd00::/8', port: 80}", "no IPv4 network"),
        ("{tenant: acme, cidr: 10.0.0.0/8, port: 0}", "exceptions[0].port"),
        ("{tenant: acme, cidr: 10.0.0.0/8}", "exceptions[0].port is missing"),
        ("{tenant: Acme, cidr: 10.0.0.0/8, port: 80}", "no tenant name"),
        ("{tenant: acme, cidr: 10.0.0.0/8, port: 80, name: 10.0.0.1}", "no host name"),
    ],
)
def test_an_exception_for_what_is_never_reached_is_refused_g3(item: str, expected: str) -> None:
    found = error_lines(operator_problems(f"exceptions:\n  - {item}"))
    assert any(expected in line for line in found), found
    assert all(line.startswith("operator.yaml:2:") for line in found)


def test_warnings_do_not_keep_a_document_from_being_used() -> None:
    place = Position("f.yaml", 1, 2)
    fault, hint = Problem(place, "wrong", "mend"), Problem(place, "odd", "look", Severity.WARNING)
    assert errors([hint, fault]) == [fault]
    assert str(hint) == "f.yaml:1:2: warning: odd; look"
    assert str(PolicyError([fault, hint])) == f"{fault}\n{hint}"

"""Rules that can decide nothing are told, and only those."""

from __future__ import annotations

import pytest

from appliance.policy.problems import Severity
from tests.unit.policy.written import error_lines, operator_problems, problems_of


def found(*rules: str) -> list[str]:
    return error_lines(problems_of("rules:\n" + "".join(f"  - {rule}\n" for rule in rules)))


A = "hosts: [a.example.com]"


@pytest.mark.parametrize(
    ("rules", "line", "message"),
    [
        (
            (f"{{name: x, {A}}}", f"{{name: y, {A}}}"),
            3,
            "duplicate for a.example.com: acme.yaml:2 rules[0] 'x'",
        ),
        ((f"{{name: x, {A}, paths: [/a]}}", f"{{name: y, {A}}}"), 2, "unreachable for a.example.com"),
        ((f"{{name: x, {A}}}", f"{{name: y, {A}, paths: [/a]}}"), 3, "unreachable for a.example.com"),
        (("{name: x, hosts: ['*.example.com']}", f"{{name: y, {A}}}"), 3, "unreachable for a.example.com"),
        (("{name: x, hosts: ['*.example.com']}", "{name: y, hosts: ['*.a.example.com']}"), 3, "unreachable"),
        ((f"{{name: x, {A}, query: any}}", f"{{name: y, {A}, query: [k]}}"), 3, "unreachable"),
        ((f"{{name: x, {A}, methods: [GET]}}", f"{{name: n, {A}, effect: deny}}"), 2, "denies all that this"),
        (
            (f"{{name: x, {A}, paths: ['/a/*']}}", f"{{name: n, {A}, effect: deny, paths: ['/a/**']}}"),
            2,
            "denies all that this rule allows",
        ),
        (
            (f"{{name: n, {A}, effect: deny}}", f"{{name: m, {A}, effect: deny, methods: [GET]}}"),
            3,
            "unreachable",
        ),
        (("{name: x, hosts: ['*.example.com', a.example.com]}",), 2, "already covered by *.example.com"),
        (
            (
                f"{{name: x, {A}, upgrade: websocket, subprotocols: [a]}}",
                f"{{name: y, {A}, upgrade: websocket}}",
            ),
            3,
            "unreachable",
        ),
        (
            (f"{{name: x, {A}, upgrade: websocket}}", f"{{name: n, {A}, effect: deny}}"),
            2,
            "denies all that this",
        ),
    ],
)
def test_a_rule_that_decides_nothing_is_an_error(rules: tuple[str, ...], line: int, message: str) -> None:
    lines = found(*rules)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"acme.yaml:{line}:")
    assert message in lines[0]
    assert "; " in lines[0]


@pytest.mark.parametrize(
    "rules",
    [
        (f"{{name: x, {A}, methods: [GET]}}", f"{{name: y, {A}, methods: [HEAD]}}"),
        (f"{{name: x, {A}, paths: [/a]}}", f"{{name: y, {A}, paths: [/b]}}"),
        (f"{{name: x, {A}, ports: [443]}}", f"{{name: y, {A}, ports: [8443]}}"),
        ("{name: x, hosts: ['*.a.example.com']}", f"{{name: y, {A}}}"),
        (f"{{name: x, {A}}}", f"{{name: n, {A}, effect: deny, paths: [/a]}}"),
        (f"{{name: x, {A}}}", f"{{name: n, {A}, effect: deny, query: [k]}}"),
        (f"{{name: x, {A}}}", f"{{name: n, {A}, effect: deny, ports: [8443]}}"),
        (
            f"{{name: x, {A}, methods: [PUT], content_types: [text/a], max_body: 1KiB}}",
            f"{{name: y, {A}, methods: [PUT], content_types: [text/b], max_body: 2KiB}}",
        ),
        (f"{{name: x, {A}}}", f"{{name: y, {A}, upgrade: websocket}}"),
        ("{name: x, hosts: ['*.example.com']}", f"{{name: y, {A}, upgrade: websocket}}"),
    ],
)
def test_rules_that_add_something_are_no_errors(rules: tuple[str, ...]) -> None:
    assert found(*rules) == []


def test_rules_that_meet_in_part_are_a_warning() -> None:
    text = f"rules:\n  - {{name: x, {A}, methods: [GET, PUT]}}\n  - {{name: y, {A}, methods: [GET, DELETE]}}"
    (problem,) = problems_of(text)
    assert problem.severity is Severity.WARNING
    assert str(problem).startswith("acme.yaml:3:")
    assert "overlaps acme.yaml:2 rules[0] 'x'" in problem.message


def test_the_operators_layer_is_looked_at_too() -> None:
    lines = error_lines(
        operator_problems("""
        allow: [{hosts: [a.example.com]}]
        deny: [{hosts: ["*.example.com"]}]
        """)
    )
    assert len(lines) == 1
    assert "denies all that this rule allows" in lines[0]


def test_hundreds_of_rules_for_one_host_are_refused_not_compared() -> None:
    rules = [f"{{name: r{i}, {A}, paths: [/p{i}]}}" for i in range(300)]
    lines = found(*rules)
    assert len(lines) == 1
    assert "more than 256 rules name a.example.com" in lines[0]


def test_paths_that_would_take_minutes_to_compare_are_refused_not_compared() -> None:
    deep = "/**/a" * 12
    rules = [
        f"{{name: r{i}, {A}, paths: [{', '.join(f'{deep}/e{i}x{j}' for j in range(8))}]}}" for i in range(64)
    ]
    (told,) = found(*rules)
    assert "too many rules with too long paths speak of a.example.com" in told
    assert found(*rules[:8]) == []

"""Policy documents: YAML and what is made of it end in a layer or in problems with a place, never otherwise (G2)."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from appliance.names import HostName, parse_host
from appliance.policy.compile import OperatorLayer, compile_named, compile_operator, compile_tenant
from appliance.policy.files import yaml_problem
from appliance.policy.problems import Problem, errors
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts
from appliance.yamldoc import Document, YamlError, loads

FILE = "/etc/egress/tenants/acme.yaml"
OWN = (IPv4Network("172.18.0.0/16"),)
SEEDS = (
    b"\x00profile: read-only-web\n",
    (b"\x00profile: allowlist\nuse: [named]\nrules:\n- name: issues\n  hosts: [api.example.com, '*.example.org']\n"
    b"  methods: [GET, POST]\n  paths: ['/v1/*/x', '/v2/**']\n  content_types: [application/json]\n  max_body: 64KiB\n"
    b"  query: [a, b]\n"),
    b"\x00rules:\n- {name: no, effect: deny, hosts: [bad.example.com], ports: [80, 443], schemes: [http], query: any}\n",
    b"\x00caps: {uri: 4KiB, headers: 8KiB, request_body: 1MiB, response_body: 1GiB}\n",
    b"\x01description: shared\nrules:\n- name: npm\n  hosts: [registry.example.org]\n  encoded_slash: true\n",
    (b"\x02allow:\n- hosts: [a.example.com]\ndeny:\n- name: x\n  hosts: ['*.bad.example']\nexceptions:\n"
    b"- {tenant: acme, cidr: 10.20.0.0/24, port: 5432, name: db.corp.example}\npassthrough:\n- hosts: [p.example.com]\n"
    b"  ports: [443]\n  tenants: [acme]\n"),
    b"\x00a: &x [1]\nb: *x\n",
    b"\x00? [a, b]\n: c\n",
    b"\x00profile: allowlist\nprofile: read-only-web\n",
    b"\x00rules: {}\n",
    b"\x00rules: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    b"\x00%YAML 1.1\n---\nprofile: !!python/name:os.system x\n",
    b"\x00!!set {a, b}\n",
    b"\x00- !!omap [a: 1]\n- !!timestamp 2001-99-99\n- !!binary '%%'\n- !!float x\n- 2001-12-14t21:59:43.10-05:00\n",
    b"\x00rules:\n- name: 1e999\n  ports: [1e999, .inf, -0, 0o17, 0x1F, 1_000, 190:20:30]\n",
    b"\x00<<: {a: b}\n",
    b"\x02exceptions:\n- {tenant: acme, cidr: 169.254.0.0/16, port: 80}\n- {tenant: acme, cidr: 172.18.0.0/16, port: 80}\n",
)  # fmt: skip
TOKENS = (
    b"profile: ", b"read-only-web", b"allowlist", b"use: ", b"rules:\n", b"- name: ", b"  hosts: [", b"methods: ", b"GET",
    b"POST", b"paths: ", b"query: ", b"any", b"content_types: ", b"max_body: ", b"encoded_slash: ", b"true", b"tls: ",
    b"passthrough", b"effect: deny", b"caps: ", b"uri: ", b"64KiB", b"exceptions:\n", b"tenant: ", b"cidr: ", b"port: ",
    b"allow:\n", b"deny:\n", b"'*.example.com'", b"/**", b"&a ", b"*a", b"<<: ", b"!!set ", b"!!omap ", b"!!binary ",
    b"!!timestamp ", b"!!float ", b"!!int ", b"? ", b": ", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 1.1\n", b"{", b"}",
    b"null", b"~", b"1e999", b".inf", b"0x", b"2001-01-01",
)  # fmt: skip
REQUESTS = tuple(
    RequestFacts(
        method=method, scheme="https", host=parse_host(host), port=443, path=path, query=(("a", "b"),),
        content_type="application/json", content_length=10,
    )
    for method, host, path in (
        ("GET", "api.example.com", "/v1/a/x"), ("POST", "x.example.org", "/"), ("GET", "10.20.0.5", "/a%2Fb"),
    )
)  # fmt: skip


def one(data: bytes) -> None:
    """The first octet: a tenant's document, a named policy, or the operator's."""
    if not data:
        return
    try:
        document = loads(data[1:], FILE)
    except YamlError as error:
        problem = yaml_problem(Path(FILE), str(error))
        assert problem.position.line >= 1
        assert problem.position.column >= 1
        return
    match data[0] % 3:
        case 0:
            _check_tenant(document)
        case 1:
            entries, problems = compile_named(document)
            _check(entries, problems)
        case _:
            layer, problems = compile_operator(document, OWN)
            _check(layer, problems)
            if layer is not None:
                assert not any(e.network.overlaps(OWN[0]) for _, e in layer.exceptions)
                _judge(_policy(layer))


def _check_tenant(document: Document) -> None:
    layer, problems = compile_tenant(document, "acme", OperatorLayer(), {"named": (), "broken": None})
    _check(layer, problems)
    if layer is not None:
        _judge(TenantPolicy("acme", "1", layer.caps, profile=layer.profile, own=RuleIndex(layer.entries)))


def _check(made: object, problems: list[Problem]) -> None:
    assert (made is None) == bool(errors(problems))
    for problem in problems:
        assert str(problem).startswith(f"{FILE}:{problem.position.line}:")


def _policy(layer: OperatorLayer) -> TenantPolicy:
    return TenantPolicy(
        "acme",
        "1",
        layer.ceilings,
        operator=RuleIndex(layer.entries),
        exceptions=layer.exceptions_of("acme"),
        passthrough=layer.passthrough_of("acme"),
    )


def _judge(policy: TenantPolicy) -> None:
    """Verdicts come out, and whoever may ask may also connect and resolve."""
    for facts in REQUESTS:
        if policy.judge(facts).allowed:
            assert policy.judge_host(facts.scheme, facts.host, facts.port).allowed
            if isinstance(facts.host, HostName):
                assert policy.judge_name(facts.host).allowed

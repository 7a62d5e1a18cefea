"""Integration definitions and accounts end as rules or as problems with a place, and an account's host is its alone."""

from __future__ import annotations

from appliance.names import HostName, parse_host
from appliance.policy.accounts_text import NotEditable, with_account, without_account
from appliance.policy.catalog import Catalog
from appliance.policy.compile import OperatorLayer
from appliance.policy.compile_account import compile_accounts
from appliance.policy.compile_definition import compile_definition
from appliance.policy.problems import Problem, errors
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import RequestFacts
from appliance.yamldoc import Document, YamlError, loads

FILE = "/etc/egress/x.yaml"
_ACCOUNT = b"accounts:\n- {name: a, integration: x, tenants: [acme], parameters: {p: [v, w]}}\n"
SEEDS = (
    (b"\x00name: x\ntitle: X\nscheme: https\nhosts: [api.example.com, '*.example.org', '{p}.example.net']\nport: 443\n"
    b"parameters: {p: {description: d, optional: true}}\nslot: {style: header, name: x-api-key, template: 'k {}'}\n"
    b"secrets: [static]\ngroups:\n- {name: r, risk: read, methods: [GET], paths: ['/v1/*/x', '/{p}/**'], query: [a, b]}\n"
    b"- name: w\n  risk: write\n  methods: [POST]\n  paths: [/mail]\n  content_types: [application/json]\n"
    b"  body: {type: object, properties: {to: {pattern: '^a+$'}}}\n  hosts: [api.example.com]\n"),
    (b"\x00name: x\ntitle: X\nscheme: https\nhost: ask\nport: 443\nslot: {style: hmac, name: s, hmac: {message: [body]}}\n"
    b"secrets: [hmac]\ngroups: [{name: r, risk: read, methods: [GET], paths: [/**]}]\nbase_url: x\nreferences: true\n"),
    b"\x01" + _ACCOUNT,
    b"\x01accounts:\n  - name: s3 # ours\n    integration: aws\n    tenants: [acme]\n    parameters: {region: eu-west-1, bucket: b1}\n",
    b"\x01accounts: [{name: r, integration: rest, tenants: [acme], host: api.example.com}]\n",
    b"\x01{}\n",
    b"\x01description: none\n",
)  # fmt: skip
TOKENS = (
    b"name: ", b"title: ", b"scheme: https", b"hosts: ", b"host: ask", b"port: 443", b"slot: ", b"{style: ", b"bearer",
    b"basic", b"query", b"sigv4", b"hmac", b"client-certificate", b"template: ", b"'{}'", b"secrets: ", b"static", b"aws",
    b"groups:\n", b"- {", b"risk: ", b"read", b"write", b"methods: ", b"GET", b"POST", b"paths: ", b"/**", b"/{p}", b"body: ",
    b"$ref", b"'#/$defs/a'", b"pattern: ", b"upgrade: websocket", b"parameters: ", b"description: ", b"optional: true",
    b"default: ", b"accounts:\n", b"integration: ", b"tenants: [acme]", b"openai", b"github", b"rest", b"'*.example.com'",
)  # fmt: skip
_KNOWN, _ = compile_definition(loads(SEEDS[0][1:], "x.yaml"), "x")
_CATALOG = Catalog({"x": _KNOWN, "broken": None})
REQUESTS = tuple(
    RequestFacts(method, scheme, parse_host(host), 443 if scheme == "https" else 80, path, query, type_, length)
    for host in ("api.example.com", "a.example.org", "v.example.net", "s3.eu-west-1.amazonaws.com", "www.example.com")
    for method, path, query, type_, length in (
        ("GET", "/v1/a/x", (("a", "b"),), None, None), ("POST", "/mail", (), "application/json", 10), ("GET", "/", (), None, None),
    )
    for scheme in ("http", "https")
)  # fmt: skip


def one(data: bytes) -> None:
    """The first octet: a definition, or accounts."""
    if not data:
        return
    try:
        document = loads(data[1:], FILE)
    except YamlError:
        return
    if data[0] % 2:
        _accounts(document, _CATALOG)
        _edit(data[1:].decode())
        return
    definition, problems = compile_definition(document, "x")
    _check(definition, problems)
    if definition is not None:
        _accounts(loads(_ACCOUNT, FILE), Catalog({"x": definition}))


def _accounts(document: Document, catalog: Catalog) -> None:
    layer, problems = compile_accounts(document, catalog, OperatorLayer())
    _check(layer, problems)
    if layer is not None:
        for profile in Profile:
            _judge(TenantPolicy("acme", "1", profile=profile, bound=layer.of("acme")))


def _check(made: object, problems: list[Problem]) -> None:
    assert (made is None) == bool(errors(problems))
    for problem in problems:
        assert str(problem).startswith(f"{FILE}:{problem.position.line}:")


def _judge(policy: TenantPolicy) -> None:
    for facts in REQUESTS:
        assert isinstance(facts.host, HostName)
        verdict = policy.judge(facts)
        if verdict.allowed:
            assert policy.judge_host(facts.scheme, facts.host, facts.port).allowed
            assert policy.judge_name(facts.host).allowed
        covering = [a.name for a in policy.bound.accounts.values() if a.covers(facts.host.text, facts.port)]
        if facts.scheme == "https" and covering:
            assert verdict.account in covering if verdict.allowed else verdict.account is None
        else:
            assert verdict.account is None


def _edit(text: str) -> None:
    """What can be edited says the same before and after, but for the account."""
    try:
        edited = with_account(text, {"name": "new", "integration": "x", "tenants": ["acme"]})
    except NotEditable:
        return
    try:
        again = without_account(edited, "new")
    except (NotEditable, KeyError):
        return
    before = loads(text.encode(), FILE).data or {}
    if before.get("accounts"):
        assert loads(again.encode(), FILE).data == before

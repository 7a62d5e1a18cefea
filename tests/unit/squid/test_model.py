"""The fallback allows a part of what the gateway allows (G8), and refuses each thing for its own reason."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network, ip_address
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.http1.refused import Refused
from appliance.http1.target import parse_absolute
from appliance.policy.bound import Bound
from appliance.policy.compile_rule import Entry, Origin, compile_rules
from appliance.policy.documents import OperatorRule
from appliance.policy.paths import PathPattern
from appliance.policy.rules import RuleIndex
from appliance.policy.set import PolicySet
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import RequestFacts
from appliance.yamldoc import loads
from squid.model import HEAD_BYTES, Denial, Fallback, Sight, expression, fallback_of, plain_target
from tests.unit.policy.bindings import CRM, bound_policy
from tests.unit.policy.written import compiled

POOL = IPv4Network("172.20.0.0/24")
CALLER = IPv4Address("172.20.0.2")
PUBLIC = IPv4Address("93.184.216.34")
LINK = IPv4Network("203.0.114.0/30")


def fallback(policy: TenantPolicy | None) -> Fallback:
    tenants = {"acme": policy} if policy else {}
    return fallback_of(PolicySet(tenants, "1"), {"acme": (POOL,)}, (LINK,))


def sight(url: str, method: str = "GET", **more: object) -> Sight:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    number = int(port or {"http": 80, "https": 443}.get(scheme, 0))
    values: dict[str, object] = {
        "addresses": (PUBLIC,),
        "server_name": host.lower() if scheme == "https" else None,
    }
    return Sight(CALLER, method, scheme, host, number, slash + path or "/", **{**values, **more})  # type: ignore[arg-type]


READ = compiled(
    "rules:\n  - {name: n, effect: deny, hosts: [no.example.com]}\n"
    "  - {name: p, effect: deny, hosts: ['*.part.example.com'], paths: [/private/**]}\n"
    "  - {name: w, effect: deny, hosts: [write.example.com], methods: [POST]}\n"
)
LISTED = compiled(
    "profile: allowlist\nrules:\n"
    "  - {name: any, hosts: [any.example.com], query: any}\n"
    "  - {name: plain, hosts: [plain.example.com]}\n"
    "  - {name: part, hosts: ['*.example.org'], paths: [/simple/**, '/a/*/z'], schemes: [http, https]}\n"
    "  - {name: keys, hosts: [keys.example.com], query: [page]}\n"
    "  - {name: api, hosts: [api.example.com], methods: [POST, GET], content_types: [application/json]}\n"
    "  - {name: high, hosts: [high.example.com], ports: [8443]}\n"
    "  - {name: write, hosts: [write.example.com], methods: [POST], content_types: [application/json]}\n",
    operator="deny:\n  - {hosts: [evil.example.org]}\nallow:\n  - {hosts: [box.home], query: any}\n",
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (sight("https://www.example.com/a?b=%2f"), None),
        (sight("http://www.example.com/", "HEAD"), None),
        (sight("http://WWW.Example.com/"), None),
        (sight("https://www.example.com/", "POST"), Denial.METHOD),
        (sight("https://www.example.com/", "get"), Denial.METHOD),
        (sight("https://www.example.com/", has_body=True), Denial.BODY),
        (sight("https://www.example.com/", upgrades=True), Denial.UPGRADE),
        (sight("https://www.example.com:8443/"), Denial.SERVICE),
        (sight("http://www.example.com:443/"), Denial.SERVICE),
        (sight("ftp://www.example.com:80/"), Denial.SERVICE),
        (sight("http://93.184.216.34/"), Denial.NAME),
        (sight("http://0x7f.1/"), Denial.NAME),
        (sight("http://2130706433/"), Denial.NAME),
        (sight("http://localhost/"), Denial.NAME),
        (sight("http://www.example.com./"), Denial.NAME),
        (sight("http://a_b.example.com/"), Denial.NAME),
        (sight("http://xn--zz.example.com/"), Denial.NAME),
        (sight(f"http://{'a' * 64}.example.com/"), Denial.NAME),
        (sight(f"http://{'a.' * 126}com/"), Denial.NAME),
        (sight("http://metadata.google.internal/"), Denial.NAME_NOT_PUBLIC),
        (sight("https://dns.google/"), Denial.HOST_IS_RESOLVER),
        (sight("https://eu.dns.google/"), Denial.HOST_IS_RESOLVER),
        (sight("https://www.example.com/dns-query?dns=AA"), Denial.TARGET),
        (sight("https://www.example.com/a%2Fb"), Denial.TARGET),
        (sight("http://www.example.com/squid-internal-mgr/info"), Denial.TARGET),
        (sight("https://www.example.com/%2e%2e/b"), Denial.TARGET),
        (sight("https://www.example.com/a/../b"), Denial.TARGET),
        (sight("https://www.example.com/a/..;/b"), Denial.TARGET),
        (sight("https://www.example.com/a//b"), Denial.TARGET),
        (sight("https://www.example.com/a?b=%00"), Denial.TARGET),
        (sight("https://www.example.com/a?b=%0"), Denial.TARGET),
        (sight("https://www.example.com/", server_name="other.example.com"), Denial.TARGET),
        (sight("https://www.example.com/", server_name=None), Denial.TARGET),
        (sight("https://no.example.com/"), Denial.HOST_DENIED),
        (sight("https://x.part.example.com/public"), Denial.HOST_DENIED),
        (sight("https://part.example.com/public"), None),
        (sight("https://write.example.com/"), None),
        (sight("https://www.example.com/", addresses=(PUBLIC, IPv4Address("10.0.0.1"))), Denial.PRIVATE_ADDRESS),
        (sight("https://www.example.com/", addresses=(ip_address("64:ff9b::7f00:1"),)), Denial.PRIVATE_ADDRESS),
        (sight("https://www.example.com/", addresses=(IPv4Address("169.254.169.254"),)), Denial.PRIVATE_ADDRESS),
        (sight("https://www.example.com/", addresses=(LINK[1],)), Denial.PRIVATE_ADDRESS),
    ],
)  # fmt: skip
def test_read_only_web(asked: Sight, expected: Denial | None) -> None:
    assert fallback(READ).judge(asked) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (sight("https://any.example.com/x?y=1"), None),
        (sight("http://any.example.com/"), Denial.HOST_NOT_LISTED),
        (sight("https://plain.example.com/x"), None),
        (sight("https://plain.example.com/x?y=1"), Denial.REQUEST_NOT_LISTED),
        (sight("https://a.example.org/simple/x"), None),
        (sight("http://a.example.org/a/b/z"), None),
        (sight("http://a.example.org/a/b/c/z"), Denial.REQUEST_NOT_LISTED),
        (sight("https://a.example.org/other"), Denial.REQUEST_NOT_LISTED),
        (sight("https://example.org/simple/x"), Denial.HOST_NOT_LISTED),
        (sight("https://notexample.org/simple/x"), Denial.HOST_NOT_LISTED),
        (sight("https://keys.example.com/?page=1"), Denial.REQUEST_NOT_LISTED),
        (sight("https://keys.example.com/"), None),
        (sight("https://api.example.com/"), None),
        (sight("https://high.example.com/"), Denial.HOST_NOT_LISTED),
        (sight("https://write.example.com/"), Denial.HOST_NOT_LISTED),
        (sight("https://evil.example.org/simple/x"), Denial.HOST_DENIED),
        (sight("https://box.home/"), Denial.NAME_NOT_PUBLIC),
        (sight("https://www.example.com/"), Denial.HOST_NOT_LISTED),
    ],
)
def test_allowlist(asked: Sight, expected: Denial | None) -> None:
    assert fallback(LISTED).judge(asked) is expected


def test_who_is_not_known_or_granted_less_than_a_head_gets_nothing() -> None:
    small = compiled(f"caps: {{uri: {HEAD_BYTES - 1}}}\n")
    for policy in (None, small, TenantPolicy("acme")):
        assert fallback(policy).judge(sight("https://www.example.com/")) is Denial.SOURCE_UNKNOWN
    elsewhere = Sight(IPv4Address("172.21.0.2"), "GET", "http", "www.example.com", 80, "/", (PUBLIC,))
    assert fallback(READ).judge(elsewhere) is Denial.SOURCE_UNKNOWN


def test_a_rule_for_a_websocket_opens_nothing_here_e13() -> None:
    policy = compiled(
        "profile: allowlist\nrules: [{name: live, hosts: [live.example.com], upgrade: websocket, query: any}]\n"
    )
    for upgrades, expected in ((False, Denial.HOST_NOT_LISTED), (True, Denial.UPGRADE)):
        assert fallback(policy).judge(sight("https://live.example.com/", upgrades=upgrades)) is expected


@pytest.mark.parametrize("profile", Profile)
def test_what_belongs_to_an_account_is_denied_here(profile: Profile) -> None:
    """The fallback has no secret, and a request without one would not be what the provider is asked."""
    policy = bound_policy("accounts: [{name: a, integration: crm, tenants: [acme]}]", profile=profile)
    fall = fallback(policy)
    for path in ("/data/1", "/other", "/"):
        assert fall.judge(sight(f"https://api.crm.example{path}")) is Denial.HOST_DENIED
    plain = fall.judge(sight("http://api.crm.example/data/1"))
    assert plain is (None if profile is Profile.READ_ONLY_WEB else Denial.HOST_NOT_LISTED)


# ── over generated policies and requests ──────────────────────────────────────────────────────────────────

HOSTS = ("example.com", "a.example.com", "b.a.example.com", "notexample.com", "dns.google", "x.test", "solo",
         "10.1.2.3", "xn--bcher-kva.example.com", "A.Example.com", "a.example.com.", "1.2", "a..example.com")  # fmt: skip
RULE_HOSTS = ("example.com", "a.example.com", "*.example.com", "*.a.example.com", "dns.google", "x.test")
PATHS = ("/", "/**", "/a/**", "/a/*/z", "/a/**/z", "/a.b/(c)", "/a%20b", "/*", "/a'b", "/~a/**", "/dns-query")
TARGETS = ("/", "/a", "/a/", "/a/b/z", "/a/z", "/axb/c", "/a.b/(c)", "/a%20b", "/a/../b", "/a/%2e%2e/b", "/a%2Fb/z",
           "/dns-query", "/a/dns-query", "/a//z", "/a/;x", "/%61/b/z", "/a'b", "/~a/b", "/a/**/z", "", "*")  # fmt: skip
QUERIES = ("", "?", "?k=1", "?k=%31&l", "?%6b=1", "?a/../b", "?x=%00", "?x=#y", "?k?l", "?k=%2")
ADDRESSES = tuple(map(ip_address, ("93.184.216.34", "10.0.0.1", "169.254.169.254", "2606:2800::1", "::ffff:7f00:1",
                                   "100.64.0.1", "224.0.0.1", "203.0.114.1")))  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "get", "TRACE", "CONNECT")


def _some(values: tuple[object, ...]) -> st.SearchStrategy[list[object]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


def _rules() -> st.SearchStrategy[list[dict[str, object]]]:
    """Written rules, also such as the loader refuses: the fallback must not lean on that."""
    optional = {
        "paths": _some(PATHS),
        "methods": _some(("GET", "HEAD", "OPTIONS")),
        "schemes": _some(("http", "https")),
        "ports": _some((80, 443, 8443)),
        "query": st.one_of(st.just("any"), _some(("k", "l"))),
        "upgrade": st.just("websocket"),
    }
    return st.lists(st.fixed_dictionaries({"hosts": _some(RULE_HOSTS)}, optional=optional), max_size=2)


def _index(allow: list[dict[str, object]], deny: list[dict[str, object]], origin: Origin) -> RuleIndex:
    entries: list[Entry] = []
    for key, written in (("allow", allow), ("deny", deny)):
        document = loads(json.dumps({key: written}).encode(), "operator.yaml")
        placed, _ = compile_rules(document, (key,), [OperatorRule.model_validate(r) for r in written], origin)
        entries += [(p.pattern, p.rule) for p in placed]
    return RuleIndex(entries)


INDEXES = [
    st.builds(_index, _rules(), _rules(), st.just(origin)) for origin in (Origin.OPERATOR, Origin.TENANT)
]


def _bound(host: str, port: int) -> Bound:
    text = CRM.replace("api.crm.example", f"'{host}'").replace("port: 443", f"port: {port}")
    text = text.replace("[GET]", "[GET, HEAD]").replace("/data/*", "/a/**")
    written = "accounts: [{name: a, integration: crm, tenants: [acme], groups: [read]}]"
    return bound_policy(written, own={"crm": text}).bound


BOUND = [
    Bound(),
    *(_bound(host, port) for host in ("a.example.com", "*.example.com") for port in (443, 8443)),
]


@st.composite
def policies(draw: st.DrawFn) -> TenantPolicy:
    above, own = map(draw, INDEXES)
    return TenantPolicy(
        "acme", "1", profile=draw(st.sampled_from(Profile)), operator=above, own=own,
        bound=draw(st.sampled_from(BOUND)),
    )  # fmt: skip


REQUESTS = st.builds(
    Sight,
    source=st.sampled_from((CALLER, IPv4Address("172.21.0.9"))),
    method=st.sampled_from(METHODS),
    scheme=st.sampled_from(("http", "https", "ftp")),
    host=st.sampled_from(HOSTS),
    port=st.sampled_from((80, 443, 8443, 22)),
    target=st.builds(str.__add__, st.sampled_from(TARGETS), st.sampled_from(QUERIES)),
    addresses=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3).map(tuple),
    server_name=st.one_of(st.none(), st.sampled_from(HOSTS)),
    has_body=st.booleans(),
    upgrades=st.booleans(),
)


def gateway_allows(policy: TenantPolicy, asked: Sight) -> bool:
    """What the gateway's own evaluator says of the same bytes."""
    if asked.source not in POOL:
        return False
    try:
        target = parse_absolute(
            f"{asked.scheme}://{asked.host}:{asked.port}{asked.target}", encoded_slash=True
        )
    except Refused:
        return False
    assert target.authority is not None
    host = target.authority.host
    facts = RequestFacts(
        asked.method, asked.scheme, host, asked.port, target.path, target.pairs,
        content_length=5 if asked.has_body else None, uri_bytes=len(asked.target), header_bytes=100,
        upgrade="websocket" if asked.upgrades else None,
    )  # fmt: skip
    if asked.scheme == "https" and asked.server_name != asked.host.lower():
        return False  # session: the Host of a request is the ClientHello's name
    addresses = all(
        policy.judge_address(host, asked.port, a).allowed and a not in LINK for a in asked.addresses
    )
    verdict = policy.judge(facts)
    return verdict.allowed and addresses and verdict.account is None  # nothing here carries a secret


@settings(max_examples=400, deadline=None)
@given(policy=policies(), asked=REQUESTS)
def test_fallback_allows_a_part_of_what_the_gateway_allows_G8(policy: TenantPolicy, asked: Sight) -> None:
    if fallback(policy).judge(asked) is None:
        assert gateway_allows(policy, asked)


def test_an_address_that_the_operator_denies_is_denied_here_too_G8() -> None:
    denied = IPv4Network("93.184.216.0/24")
    blocking = fallback_of(PolicySet({"acme": READ}, "1", denied=(denied,)), {"acme": (POOL,)}, (LINK,))
    asked = sight("https://www.example.com/")
    assert fallback(READ).judge(asked) is None
    assert blocking.judge(asked) is Denial.PRIVATE_ADDRESS
    elsewhere = IPv4Address("93.184.217.1")
    assert blocking.judge(sight("https://www.example.com/", addresses=(elsewhere,))) is None
    mixed = sight("https://www.example.com/", addresses=(elsewhere, PUBLIC))
    assert blocking.judge(mixed) is Denial.PRIVATE_ADDRESS


def test_the_whole_grid_under_chosen_policies_G8() -> None:
    """Not chance: every host, target, query and service under policies with every kind of rule."""
    allowed = 0
    for policy in (READ, LISTED, *map(_with_path, PATHS)):
        fall = fallback(policy)
        services = (("http", 80), ("https", 443))
        for host, target, query, (scheme, port) in product(HOSTS, TARGETS, QUERIES, services):
            name = host.lower() if scheme == "https" else None
            asked = Sight(CALLER, "GET", scheme, host, port, target + query, (PUBLIC,), name)
            if fall.judge(asked) is None:
                allowed += 1
                assert gateway_allows(policy, asked), asked
    assert allowed > 300  # the grid is no empty promise


def _with_path(path: str) -> TenantPolicy:
    return compiled(
        f'profile: allowlist\nrules:\n  - {{name: r, hosts: ["*.example.com", example.com], paths: ["{path}"],'
        " schemes: [http, https], query: any}\n"
    )


@settings(max_examples=300)
@given(
    segments=st.lists(st.sampled_from(("*", "**", "", "a", "a.b", "(c)", "$", "x+y")), min_size=1, max_size=4),
    path=st.lists(st.sampled_from(("a", "a.b", "axb", "(c)", "b", "$", "x+y", "xxy")), min_size=1, max_size=4),
)  # fmt: skip
def test_an_expression_fits_what_its_pattern_fits(segments: list[str], path: list[str]) -> None:
    pattern = PathPattern.parse("/" + "/".join(segments))
    written = expression(pattern, any_query=False)
    assert written is not None
    target = "/" + "/".join(path)
    assert plain_target(target)
    assert bool(re.search(written, target)) == pattern.matches(target)

"""No value becomes more than one word of squid.conf; sed judges targets as the model does; each step has its line."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_network
from itertools import combinations
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.addresses import BLOCKED_V4
from appliance.http1 import fields
from appliance.policy.hosts import HostPattern
from appliance.policy.set import PolicySet
from appliance.processes import HEARTBEAT_PORT
from squid.model import Denial, Fallback, FallbackTenant, Opening, fallback_of, plain_target
from squid.render import (
    ADDRESS,
    NEVER_NOMINATED,
    SQUID_ERRORS,
    STRIPPED,
    Place,
    Unrenderable,
    below,
    form_script,
    literal,
    page_name,
    pages,
    render,
    target_script,
    word,
)
from tests.unit.policy.written import compiled

FOLDER = PurePosixPath("/run/egress/squid")
PLACE = Place(IPv4Address("198.18.83.2"), 1, FOLDER, FOLDER / "ca.pem", (IPv4Address("127.0.0.1"),))
HOSTILE = (
    "", " ", "a b", "a\nhttp_access allow all", "a\rb", "a\tb", '"/etc/passwd"', "'x'", "#x", "a#b", "@x", "%x",
    "a\x00b", "a\u2028b", "${process_number}", "a${x}", "!all", "-i", "a\\\nb", "ä.example.com", "`id`",
)  # fmt: skip


def written(fallback: Fallback) -> str:
    return render(fallback, PLACE)


def ours(policy: str, operator: str | None = None) -> Fallback:
    policies = PolicySet({"acme": compiled(policy, operator=operator)}, "g1")
    return fallback_of(policies, {"acme": (IPv4Network("172.20.0.0/24"),)})


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_never_rendered(value: str) -> None:
    with pytest.raises(Unrenderable):
        word(value)
    for as_host in (literal, below):
        with pytest.raises(Unrenderable):
            as_host(value)
    with pytest.raises(Unrenderable):
        written(Fallback((), (), value))
    host = HostPattern(value)
    service = (("https", 443),)
    pool = (IPv4Network("172.20.0.0/24"),)
    openings = (Opening(host, service, ("GET",)),)
    for tenant in (
        FallbackTenant(pool, reads_web=True, response_bytes=1, denied={("https", 443): (host,)}),
        FallbackTenant(pool, reads_web=False, response_bytes=1, openings=openings),
        FallbackTenant(
            pool, reads_web=False, response_bytes=1,
            openings=(replace(openings[0], host=HostPattern("a.example"), paths=(value,)),),
        ),
    ):  # fmt: skip
        with pytest.raises(Unrenderable):
            written(Fallback((tenant,), (), "g1"))


@given(st.text())
def test_a_word_is_one_word(value: str) -> None:
    try:
        taken = word(value)
    except Unrenderable:
        return
    assert taken.split() == [value]
    assert not re.search(r"""["#\s\x00-\x1f\x7f-\U0010ffff]|^[@%!'-]|\$\{""", taken)


def test_every_special_range_is_there() -> None:
    listed = [
        IPv4Network(n)
        for n in re.findall(
            r"^acl special dst ([0-9./]+)$", written(ours("profile: read-only-web\n")), re.MULTILINE
        )
    ]
    for block in BLOCKED_V4:
        assert any(block.network.subnet_of(network) for network in listed)  # type: ignore[arg-type]


def test_no_special_range_lies_within_another_as_squid_sees_them() -> None:
    """Squid leaves out one of two that overlap, and to it an IPv4 address is a mapped one."""
    fallback = ours("profile: read-only-web\n")
    listed = [ip_network(n) for n in re.findall(r"^acl special dst (\S+)$", written(fallback), re.MULTILINE)]
    mapped = IPv6Network("::ffff:0:0/96")
    as_squid = [
        n if isinstance(n, IPv6Network) else IPv6Network((int(mapped[0]) + int(n[0]), 96 + n.prefixlen))
        for n in listed
    ]
    assert all(not a.overlaps(b) for a, b in combinations(as_squid, 2))
    v6 = [n for n in listed if isinstance(n, IPv6Network)]
    together = list(collapse_addresses([*v6, mapped]))
    assert together == list(collapse_addresses(n for n in fallback.blocked if isinstance(n, IPv6Network)))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("http_access")]


def test_denied_first_names_before_addresses_and_nothing_by_default() -> None:
    text = written(
        ours("profile: allowlist\nrules:\n  - {name: a, hosts: [www.example.com], paths: [/a/**]}\n")
    )
    access = lines(text)
    assert access[-1] == "http_access deny all"
    special = access.index("http_access deny special")
    # `dst` makes Squid resolve the host: every line about names stands before it.
    assert access.index("http_access deny t0 port443 !t0_listed443") < special
    assert [line for line in access[:special] if " allow " in line] == []
    assert access[special + 1 : -1] == [
        "http_access allow tunnel",
        "http_access allow t0 port443 get t0_o0_host t0_o0_path",
        "http_access allow t0 port443 head t0_o0_host t0_o0_path",
    ]
    assert "acl t0_o0_path urlpath_regex ^/a/[^?]*$" in text
    assert "http_access deny port80 t0" in access


def test_a_deny_rule_stands_before_every_allow() -> None:
    policy = "rules:\n  - {name: n, effect: deny, hosts: [no.example.com, '*.never.example.com']}\n"
    text = written(ours(policy, "deny:\n  - {hosts: [worse.example.com], schemes: [http]}\n"))
    assert "acl t0_denied443_exact dstdomain -n no.example.com" in text
    assert "acl t0_denied80_exact dstdomain -n worse.example.com" in text
    assert "acl t0_denied443_exact dstdomain -n worse.example.com" not in text
    assert "acl t0_denied443_below dstdom_regex -n [.]never[.]example[.]com$" in text
    access = lines(text)
    assert access.index("http_access deny t0 port443 t0_denied443") < access.index("http_access allow t0")


def test_without_tenants_nobody_is_let_in() -> None:
    text = written(Fallback((), (), "none"))
    assert "http_access allow t" not in text.replace("http_access allow tunnel", "")
    assert "acl tenants src 255.255.255.255/32" in text


def test_every_refusal_has_a_page_that_names_its_reason() -> None:
    assert set(pages()) == {page_name(denial) for denial in Denial} | set(SQUID_ERRORS)
    for denial in Denial:
        assert f'"reason": "{denial.value}"' in pages()[page_name(denial)]
    text = written(ours("profile: allowlist\nrules:\n  - {name: a, hosts: [a.example.com]}\n"))
    named = set(re.findall(r"^deny_info (\S+) \S+$", text, re.MULTILINE))
    assert named == set(pages()) - {page_name(Denial.HOST_DENIED), *SQUID_ERRORS}
    assert "acl t0_crowd maxconn 512" in text


TARGETS = (
    "/", "/a", "/a/b.html", "/a?b=1", "/a?b=%2f&c=~'", "/a?", "/.well-known/x", "/a/.hidden", "/a;b", "/..a/b",
    "", "a", "*", "//", "/a//b", "/a/./b", "/a/../b", "/..", "/.", "/a/..?x", "/a/.;x/b", "/;x", "/a/..;", "/%41",
    "/a%2fb", "/a%5Cb", "/a'b", "/~a", "/a*b", "/a\\b", "/a#b", "/a?b#c", "/a?%00", "/a?%0", "/a?%zz", "/a?x//y",
    "/dns-query", "/x/dns-query?dns=AA", "/dns-query/x", "/dns-query/", "/dns-query;a=b?x",
    "/dns-query;a/?dns=AA", "/dns-query;a/b", "/dns-queries", "/a?x/dns-query", "/a?/../b", "/a b", "/a?b c", "/ä",
)  # fmt: skip


def as_squid_tells(target: str) -> str:
    """Squid writes these, and none of what its parser lets through beside them, as escapes."""
    return target.replace("~", "%7E").replace("'", "%27")


@pytest.mark.parametrize("target", TARGETS)
def test_sed_judges_a_target_as_the_model_does(target: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "target.sed"
    script.write_text(target_script())
    told = as_squid_tells(target)
    asked = [
        f"http - www.example.com {told} -",
        f"https www.example.com www.example.com {told} -",
        f"https other.example.com www.example.com {told} -",
        f"https - www.example.com {told} -",
        f"ftp - www.example.com {told} -",
        f"http www.example.com www.example.com {told} -",
    ]
    done = subprocess.run(
        ("sed", "-u", "-n", "-E", "-f", str(script)), input="\n".join([*asked, ""]), text=True, check=True,
        capture_output=True, timeout=10,
    )  # fmt: skip
    plain = "OK" if plain_target(target) else "ERR"
    assert done.stdout.split() == [plain, plain, "ERR", "ERR", "ERR", "ERR"]


def test_no_connection_is_intercepted_B3() -> None:
    """Squid resolves the Host of an intercepted request, and dials its address, before any rule is looked at."""
    text = written(ours("profile: read-only-web\n"))
    listening = [line for line in text.splitlines() if re.match(r"https?_port", line)]
    assert len(listening) == 2
    assert listening[1] == f"http_port 127.0.0.1:{HEARTBEAT_PORT} name=heartbeat"
    assert not re.search(r"intercept|tproxy|accel", listening[0])


def test_the_gateways_port_stands_before_tenants_and_only_when_chained():
    plain = render(fallback_of(PolicySet(), {}), PLACE)
    assert "chained" not in plain
    lines = render(fallback_of(PolicySet(), {}), replace(PLACE, chained=True)).splitlines()
    assert "http_port 127.0.0.1:15103 name=chained" in lines
    own = [index for index, line in enumerate(lines) if line.startswith("http_access") and "chained" in line]
    assert [lines[index] for index in own] == [
        "http_access deny chained !tunnel",
        "http_access deny chained !by_address",
        "http_access deny chained special",
        "http_access allow chained",
    ]
    assert max(own) < lines.index("http_access deny !tenants")


@pytest.mark.parametrize(
    ("text", "is_address"),
    [("93.184.215.10", True), ("0.0.0.0", True), ("255.255.255.255", True), ("256.1.1.1", False), ("01.1.1.1", False),
     ("1.1.1", False), ("1.1.1.1.", False), ("0x7f.0.0.1", False), ("1.1.1.1.example.com", False), ("", False)],
)  # fmt: skip
def test_an_address_in_its_one_form(text, is_address):
    assert bool(re.search(ADDRESS, text)) is is_address


def test_every_field_that_the_gateway_drops_by_name_is_dropped_e9() -> None:
    stripped = {name.lower().encode() for name in STRIPPED}
    assert stripped >= fields._SPOOFED
    text = written(ours("profile: read-only-web"))
    for name in (
        "X-HTTP-Method-Override",
        "X_HTTP_Method_Override",
        "X-Upstream-HTTPS-Proxy",
        "X_Forwarded_For",
    ):
        assert f"request_header_access {name} deny all\n" in text


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("GET 1.1 www.example.com 80 www.example.com -", "OK"),
        ("HEAD 1.0 www.example.com 80 WWW.example.com:80 -", "OK"),
        ("CONNECT 1.1 www.example.com 443 www.example.com:443 -", "OK"),
        ("CONNECT 1.0 www.example.com 443 - -", "OK"),
        ("CONNECT 1.1 www.example.com 443 - -", "ERR"),
        ("GET 1.0 www.example.com 80 - -", "ERR"),
        ("GET 0.9 www.example.com 80 www.example.com -", "ERR"),
        ("GET 1.2 www.example.com 80 www.example.com -", "ERR"),
        ("GET 1.10 www.example.com 80 www.example.com -", "ERR"),
        ("GET 1x1 www.example.com 80 www.example.com -", "ERR"),
        ("GET 1.1 www.example.com 80 other.example.com -", "ERR"),
        ("GET 1.1 www.example.com 80 www.example.com:81 -", "ERR"),
        ("GET 1.1 www.example.com 80 www.example.com:8 -", "ERR"),
        ("GET 1.1 www.example.com 80 wwwxexample.com -", "ERR"),
        ("GET 1.1 www.example.com 80 www.example.com,%20x -", "ERR"),
        ("GET 1.1 www.example.com 80 www.example.com x -", "ERR"),
        ("", "ERR"),
    ],
)
def test_sed_judges_version_and_host_field(line: str, answer: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "form.sed"
    script.write_text(form_script())
    done = subprocess.run(
        ("sed", "-u", "-n", "-E", "-f", str(script)), input=f"{line}\n", text=True, check=True, capture_output=True,
        timeout=10,
    )  # fmt: skip
    assert done.stdout == f"{answer}\n"


def test_forms_are_judged_before_anything_is_allowed_and_every_field_that_the_gateway_guards_is_named() -> (
    None
):
    text = written(ours("profile: read-only-web\n"))
    access = lines(text)
    first = next(index for index, line in enumerate(access) if line.startswith("http_access allow"))
    for denied in (
        "has_body", "upgrades", "upgrades_h2", "userinfo", "disguised_length", "disguised_coding", "disguised_type",
        "disguised_content_coding", "nominates",
        "expects !expects_continue", "!plain_form",
    ):  # fmt: skip
        assert access.index(f"http_access deny {denied}") < first
    (nominates,) = re.findall(r"^acl nominates req_header Connection -i (.*)$", text, re.MULTILINE)
    assert {name.encode() for name in NEVER_NOMINATED} == fields.NEVER_NOMINATED
    for name in fields.NEVER_NOMINATED:
        assert re.search(nominates.replace("[:space:]", r"\s"), f"close, {name.decode()}")
    disguised = {
        found.lower().encode()
        for found in re.findall(r"^acl disguised_\w+ req_header (\w+)", text, re.MULTILINE)
    }
    assert disguised == fields.DISGUISED

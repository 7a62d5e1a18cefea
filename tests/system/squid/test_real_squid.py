"""The rendered configuration in a real Squid: requests of real clients, with a live origin behind every refusal."""

import itertools
import json
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.policy.set import PolicySet
from squid.model import Denial, Sight, fallback_of
from tests.system.squid.conftest import (
    GATEWAY,
    LIST_POLICY,
    LIST_TENANT,
    METADATA,
    NAMES,
    PRIVATE,
    STRANGER,
    WEB_POLICY,
    WEB_TENANT,
    WWW,
    Entered,
)
from tests.unit.policy.written import compiled

pytestmark = pytest.mark.system

PROXY = ("-x", f"http://{GATEWAY}:3128")
SECRET_FIELDS = (
    "Via",
    "X-Forwarded-For",
    "Forwarded",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Proxy-Authorization",
)


def at(name, address=WWW):
    """curl told where the name is, as a container that asked our resolver is."""
    return ("--resolve", f"{name}:80:{address}", "--resolve", f"{name}:443:{address}")


def reason(body):
    return json.loads(body[body.index("{") : body.index("}") + 1]).get("reason")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("option", ["-G", "--head"])
def test_reading_works(world, scheme, option):
    before = len(world.seen)
    status, code, _ = world.curl(
        WEB_TENANT, *PROXY, option, f"{scheme}://www.example.com/a?b=%20c", "-H", "Via: x"
    )
    assert (status, code) == (0, 200)
    (label, method, path, fields, _body) = world.seen[before]
    assert (label, path) == (f"{WWW}:{443 if scheme == 'https' else 80}", "/a?b=%20c")
    assert method == ("HEAD" if option == "--head" else "GET")
    assert not {name.lower() for name in fields} & {name.lower() for name in SECRET_FIELDS}


def test_paths_of_an_allowlist(world):
    for url, expected in (
        ("https://www.example.com/any?q=1", 200),
        ("https://files.example.org/simple/x", 200),
        ("http://files.example.org/simple/x", 200),
        ("https://files.example.org/other", 403),
        ("https://files.example.org/simple/x?q=1", 403),
        ("https://files.example.org/simple/../other", 403),
        ("http://www.example.com/", 403),
        ("https://api.example.com/", 403),
        ("https://other.example.net/", 403),
    ):
        _, code, body = world.curl(LIST_TENANT, *PROXY, "--path-as-is", url)
        assert (code == 200) == (expected == 200), (url, body)
        assert expected == 200 or "squid-fallback" in body, (url, body)


REFUSED = {
    "post": ((*PROXY, "-d", "x=1", "http://www.example.com/"), Denial.METHOD),
    "post over TLS": ((*PROXY, "-d", "x=1", "https://www.example.com/"), Denial.METHOD),
    "options": ((*PROXY, "-X", "OPTIONS", "http://www.example.com/"), Denial.METHOD),
    "trace": ((*PROXY, "-X", "TRACE", "https://www.example.com/"), Denial.METHOD),
    "lower-case get": ((*PROXY, "-X", "get", "https://www.example.com/"), Denial.METHOD),
    "get with a body": ((*PROXY, "-X", "GET", "-d", "x", "https://www.example.com/"), Denial.BODY),
    "chunked get": ((*PROXY, "-X", "GET", "-d", "x", "-H", "Transfer-Encoding: chunked", "http://www.example.com/"), Denial.BODY),
    "upgrade": ((*PROXY, "-H", "Upgrade: websocket", "https://www.example.com/"), Denial.UPGRADE),
    "other port": ((*PROXY, "http://www.example.com:8080/"), Denial.SERVICE),
    "http to 443": ((*PROXY, "http://www.example.com:443/"), Denial.SERVICE),
    "ftp": ((*PROXY, "ftp://www.example.com/x"), Denial.SERVICE),
    "literal": ((*PROXY, f"http://{WWW}/"), Denial.NAME),
    "metadata literal": ((*PROXY, f"http://{METADATA}/latest/"), Denial.NAME),
    "rebound name": ((*PROXY, "http://rebound.example.net/"), Denial.PRIVATE_ADDRESS),
    "metadata behind a name": ((*PROXY, "http://meta.example.net/"), Denial.PRIVATE_ADDRESS),
    "dotless name": ((*PROXY, "http://solo/"), Denial.NAME),
    "metadata name": ((*PROXY, "http://metadata.google.internal/"), Denial.NAME_NOT_PUBLIC),
    "resolver": ((*PROXY, "http://dns.google/resolve"), Denial.HOST_IS_RESOLVER),
    "denied by rule": ((*PROXY, "http://bad.example.com/"), Denial.HOST_DENIED),
    "encoded slash": ((*PROXY, "https://www.example.com/a%2fb"), Denial.TARGET),
    "encoded dots": ((*PROXY, "https://www.example.com/%2e%2e/b"), Denial.TARGET),
    "DNS over HTTPS": ((*PROXY, "https://www.example.com/dns-query?dns=AA"), Denial.TARGET),
    "cache manager": ((*PROXY, f"http://{GATEWAY}:3128/squid-internal-mgr/info"), Denial.TARGET),
    "cache manager by its name": ((*PROXY, "http://egress-fallback/squid-internal-mgr/info"), Denial.TARGET),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason_and_nothing_reached(world, case):
    arguments, expected = REFUSED[case]
    before = len(world.seen)
    _status, code, body = world.curl(WEB_TENANT, *arguments)
    # Squid itself refuses a GET with a length, before it looks at any rule.
    own = ("request-malformed",) if code == 411 else ()
    assert code in {403, 411}, body
    assert reason(body) in {expected.value, *own}
    assert world.seen[before:] == []


@pytest.mark.parametrize("target", [
    "cache_object://127.0.0.1/info", "cache_object://www.example.com/", "mgr:info", "urn:www.example.com:x",
    "gopher://www.example.com/x", "wais://www.example.com/", "whois://www.example.com/", "ws://www.example.com/",
    "https://www.example.com/", "file:///etc/passwd", "*", "http://www.example.com@10.0.1.5/", "http://10.0.1.5#@www.example.com/",
    "http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://[::ffff:169.254.169.254]/", "http://[fe80::1%25eth0]/",
    "http://www.example.com\\@10.0.1.5/", "http://www.example.com%00.evil/",
])  # fmt: skip
def test_odd_targets_E19(world, target):
    before = len(world.seen)
    head = f"GET {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
    received = world.raw(WEB_TENANT, GATEWAY, 3128, head.encode())
    assert received.split(b" ", 2)[1] in (b"403", b"400", b"409", b"501"), received[:300]
    assert world.seen[before:] == []


def test_squid_ignores_nothing_of_what_was_rendered(world):
    """It only warns of what it leaves out, a range within another among it."""
    command = world._as_squid("squid", "-k", "parse", "-f", str(world.place().configuration))
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert "is ignored" not in said.stdout + said.stderr


def test_a_source_without_a_policy_gets_nothing(world):
    before = len(world.seen)
    received = world.raw(
        STRANGER, GATEWAY, 3128, b"GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    )
    assert b'"reason": "no-policy"' in received
    assert world.seen[before:] == []


@pytest.mark.parametrize("client", [WEB_TENANT, LIST_TENANT])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_goes_round_the_proxy_ends_nowhere_A2_B3_D5(world, client, scheme):
    """Nothing is dialled and nothing is resolved for it."""
    before, asked = len(world.seen), len(world.asked)
    for name in ("www.example.com", "leak.example.net"):
        status, code, _ = world.curl(client, *at(name), "-m", "1", f"{scheme}://{name}/")
        assert (status != 0, code) == (True, 0)
    assert (world.seen[before:], world.asked[asked:]) == ([], [])


def test_a_host_header_does_not_change_the_absolute_target_E5(world):
    """RFC 9112 section 3.2.2: the target counts, and what goes on says the same name twice."""
    before = len(world.seen)
    head = b"GET http://www.example.com/ HTTP/1.1\r\nHost: rebound.example.net\r\nConnection: close\r\n\r\n"
    world.raw(WEB_TENANT, GATEWAY, 3128, head)
    assert [(e[0], e[3]["Host"]) for e in world.seen[before:]] in ([], [(f"{WWW}:80", "www.example.com")])


def tls_to(world, client, name, connect):
    """A client's TLS connection for `name` in a tunnel to `connect`."""
    context = ssl.create_default_context(cafile=str(world.directory / "root.pem"))
    context.check_hostname = False
    with Entered(world.clients[client]):
        plain = socket.create_connection((GATEWAY, 3128), timeout=5)
    plain.sendall(f"CONNECT {connect} HTTP/1.1\r\nHost: {connect}\r\n\r\n".encode())
    answer = plain.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return context.wrap_socket(plain, server_hostname=name)


def exchange(connection, *parts):
    connection.sendall(b"".join(parts))
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (TimeoutError, OSError):
        pass
    return received


def test_inside_TLS_another_host_or_a_tunnel_is_refused_D4(world):
    for request in (
        b"GET / HTTP/1.1\r\nHost: other.example.net\r\nConnection: close\r\n\r\n",
        b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n",
        b"CONNECT other.example.net:443 HTTP/1.1\r\nHost: other.example.net:443\r\n\r\n",
        b"GET http://other.example.net/ HTTP/1.1\r\nHost: other.example.net\r\nConnection: close\r\n\r\n",
    ):
        before = len(world.seen)
        with tls_to(world, WEB_TENANT, "www.example.com", "www.example.com:443") as connection:
            connection.settimeout(4)
            received = exchange(connection, request)
        assert not received.startswith(b"HTTP/1.1 200"), (request, received[:400])
        assert world.seen[before:] == []


def test_a_tunnel_to_another_name_or_port_or_without_a_name_is_refused_D2_D3(world):
    for target, expected in (
        ("www.example.com:22", Denial.SERVICE),
        ("www.example.com:80", Denial.SERVICE),
        (f"{WWW}:443", Denial.NAME),
        (f"{PRIVATE}:443", Denial.NAME),
        ("rebound.example.net:443", Denial.PRIVATE_ADDRESS),
    ):
        _, _, body = world.curl(WEB_TENANT, *PROXY, "-k", "-p", f"https://{target}/")
        assert reason(body) == expected.value, (target, body)
    before = len(world.seen)
    with tls_to(world, WEB_TENANT, "other.example.net", "www.example.com:443") as connection:
        connection.settimeout(4)
        received = exchange(
            connection, b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
        )
    assert not received.startswith(b"HTTP/1.1 200"), received
    assert world.seen[before:] == []


@pytest.mark.parametrize(
    "first", [b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n", b"\x00" * 64]
)
def test_what_is_no_TLS_in_a_tunnel_gets_no_further_D8(world, first):
    before = len(world.seen)
    received = world.raw(
        WEB_TENANT,
        GATEWAY,
        3128,
        b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n" + first,
    )
    assert b'"server"' not in received
    assert world.seen[before:] == []


def test_a_second_request_on_the_connection_is_judged_too_E4(world):
    before = len(world.seen)
    received = world.raw(
        WEB_TENANT, GATEWAY, 3128,
        b"GET http://www.example.com/1 HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
        b"POST http://www.example.com/2 HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1\r\n\r\nx"
        b"GET http://rebound.example.net/3 HTTP/1.1\r\nHost: rebound.example.net\r\nConnection: close\r\n\r\n",
    )  # fmt: skip
    assert received.startswith(b"HTTP/1.1 200")
    assert [entry[2] for entry in world.seen[before:]] == ["/1"]


def test_a_long_head_is_refused_F1(world):
    before = len(world.seen)
    for head in (
        b"GET http://www.example.com/" + b"a" * 8200 + b" HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
        b"GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\nX: " + b"a" * 8200 + b"\r\n\r\n",
    ):
        received = world.raw(WEB_TENANT, GATEWAY, 3128, head)
        assert received.split(b" ", 2)[1] in (b"400", b"414", b"431"), received[:200]
    assert world.seen[before:] == []


def test_a_container_with_too_many_connections_is_refused_F4(world):
    url = ("https://www.example.com/",)
    with ExitStack() as held:
        with Entered(world.clients[LIST_TENANT]):
            for _ in range(8):
                held.enter_context(socket.create_connection((GATEWAY, 3128), timeout=5))
        _, _, body = world.curl(LIST_TENANT, *PROXY, *url)
        assert reason(body) == "too-many-connections"
        assert world.curl(WEB_TENANT, *PROXY, *url)[1] == 200  # another is not hurt
    deadline = time.monotonic() + 5
    while world.curl(LIST_TENANT, *PROXY, *url)[1] != 200:
        assert time.monotonic() < deadline


def test_nobody_is_asked_for_the_name_of_a_client_B16(world):
    assert world.curl(WEB_TENANT, *PROXY, "http://www.example.com/unnamed")[1] == 200
    assert [name for name in world.asked if name.startswith("www.")]
    assert not [name for name in world.asked if name.endswith("arpa")]


def test_a_name_that_no_rule_lists_is_not_asked_B3(world):
    """By the explicit way, which is judged before anything is resolved."""
    for url in ("http://leak-1.evil.example.net/", "https://leak-2.evil.example.net/"):
        world.curl(LIST_TENANT, *PROXY, url)
    assert not [name for name in world.asked if "leak" in name]


def test_an_upstream_with_a_wrong_certificate_is_refused_D11(world):
    """www2 resolves to the same server, which has no certificate for it."""
    before = len(world.seen)
    _, code, _ = world.curl(WEB_TENANT, *PROXY, "https://www2.example.com/")
    assert code in (502, 503)
    assert world.seen[before:] == []


HOSTS = ("www.example.com", "api.example.com", "files.example.org", "bad.example.com", "rebound.example.net",
         "WWW.example.com", "notexample.com", "dns.google", "x.test", "xn--zz.example.com", "1.2.3.4", "0x7f.1")  # fmt: skip
TARGETS = ("/", "/simple/x", "/simple/", "/simple", "/simple/a.b", "/simple/../x", "/simple/%2e%2e/x", "/simple%2Fx",
           "/simple//x", "/simple/;x", "/simple/..;/x", "/%73imple/x", "/simple/~a", "/simple/a'b", "/simple/a*b",
           "/simple/x/dns-query", "/other", "/Simple/x", "/squid-internal-mgr/info")  # fmt: skip
QUERIES = ("", "?", "?a=1", "?a=%2f..%2f", "?/../x", "?%00", "?a=%zz")


@pytest.mark.parametrize("client", [WEB_TENANT, LIST_TENANT])
def test_squid_decides_as_the_model_says_G8(world, client):
    """The rendering, line by line, in the real thing: the same requests to both, and the same answer."""
    policies = PolicySet({"web": compiled(WEB_POLICY), "listed": compiled(LIST_POLICY)}, "g1")
    pools = {"web": (IPv4Network("10.9.0.0/28"),), "listed": (IPv4Network("10.9.0.16/28"),)}
    model = fallback_of(policies, pools)
    allowed = refused = 0
    for host, target, query in itertools.product(HOSTS, TARGETS, QUERIES):
        addresses = (IPv4Address(NAMES.get(host.lower(), WWW)),)
        asked = Sight(IPv4Address(client), "GET", "http", host, 80, target + query, addresses)
        denial = model.judge(asked)
        head = f"GET http://{host}{target}{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        before = len(world.seen)
        status = world.raw(client, GATEWAY, 3128, head.encode()).split(b" ", 2)[1]
        reached = world.seen[before:]
        if denial is None and host.lower() in NAMES:
            assert (status, len(reached)) == (b"200", 1), (asked, status)
            allowed += 1
        else:
            assert reached == [], (asked, denial)
            assert status in {b"400", b"403", b"409", b"502", b"503"}, (asked, status)
            refused += 1
    assert allowed >= (10 if client == WEB_TENANT else 3)
    assert refused > 500

"""Requests through a real worker process, plain and intercepted, allowed and refused."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from loopback import NAME, OTHER, POSTING, PRIVATE, read_answer


def hosts(gateway) -> list[str]:
    return [headers["Host"] for _, _, headers in gateway.plain.seen + gateway.tls.seen]


# Allowed.


@pytest.mark.parametrize("way", ["plain", "tls", "proxy-absolute", "proxy-connect"])
def test_a_get_reaches_the_origin(gateway, way) -> None:
    target = "/hello"
    match way:
        case "plain":
            sock = gateway.connect(80)
        case "tls":
            sock = gateway.secure(NAME)
        case "proxy-absolute":
            sock, target = gateway.connect(3128), f"http://{NAME}/hello"
        case "proxy-connect":
            sock = gateway.wrap(gateway.proxy(f"{NAME}:443"), NAME)
    answer = gateway.get(target, sock=sock)
    assert (answer.status, answer.body) == (200, b"hello from " + NAME.encode())
    (record,) = gateway.records(1)
    assert record["kind"] == "request"
    assert (record["outcome"], record["reason"]) == ("allowed", "allowed-by-profile")
    assert (record["tenant"], record["host"], record["path"]) == ("acme", NAME, "/hello")
    assert record["upstream_address"] == gateway.address
    assert record["tls"] == ("intercepted" if way in ("tls", "proxy-connect") else "none")
    assert record["status"] == 200
    assert record["bytes_to_client"] > len(answer.body)
    assert record["bytes_to_upstream"] > 0


@pytest.mark.parametrize("secure", [False, True])
def test_many_requests_on_one_connection_use_one_upstream_connection(gateway, secure) -> None:
    sock = gateway.secure(NAME) if secure else gateway.connect(80)
    for _ in range(5):
        assert gateway.get(sock=sock).status == 200
    assert (gateway.tls if secure else gateway.plain).connections == 1
    assert len(gateway.records(5)) == 5


def test_pooled_connections_are_not_shared_between_tenants_or_hosts_e20(gateway) -> None:
    assert gateway.get().status == 200
    assert gateway.stats()["pooled"] == 1
    assert gateway.get(sock=gateway.connect(80, gateway.beta)).status == 200
    assert gateway.plain.connections == 2
    assert gateway.get(host=OTHER).status == 200
    assert gateway.plain.connections == 3
    assert gateway.get().status == 200
    assert gateway.plain.connections == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [("/chunked", b"one two three"), ("/until-close", b"until close"), ("/big?n=3000000", None)],
)
@pytest.mark.parametrize("secure", [False, True])
def test_bodies_of_every_framing_arrive_whole(gateway, path, body, secure) -> None:
    sock = gateway.secure(NAME) if secure else gateway.connect(80)
    answer = gateway.get(path, sock=sock)
    assert answer.body == (body or (bytes(range(256)) * 11719)[:3000000])
    assert not answer.closes
    assert gateway.get(sock=sock).status == 200


def test_http_1_0_gets_a_body_that_ends_with_the_connection(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"GET /chunked HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
    data = b""
    while block := sock.recv(65536):
        data += block
    assert data.endswith(b"\r\n\r\none two three")
    assert b"chunked" not in data.lower()


def test_head_has_no_body_and_the_connection_goes_on(gateway) -> None:
    sock = gateway.connect(80)
    answer = gateway.get(method="HEAD", sock=sock)
    assert (answer.status, answer.body) == (200, b"")
    assert gateway.get(sock=sock).body


@pytest.mark.parametrize("secure", [False, True])
def test_a_body_is_passed_on_in_its_framing(gateway, secure) -> None:
    sock = gateway.secure(POSTING) if secure else gateway.connect(80)
    body = b"x" * 300_000
    answer = gateway.get(
        method="POST", host=POSTING, sock=sock, headers=[f"Content-Length: {len(body)}"], body=body
    )
    assert answer.body == b"300000 bytes"
    chunks = b"5\r\nhello\r\n" * 1000 + b"0\r\n\r\n"
    answer = gateway.get(
        method="POST", host=POSTING, sock=sock, headers=["Transfer-Encoding: chunked"], body=chunks
    )
    assert answer.body == b"5000 bytes"
    assert gateway.get(host=POSTING, sock=sock).status == 200


def test_100_continue_is_said_only_when_the_request_may_go_on(gateway) -> None:
    sock = gateway.connect(80)
    head = "POST /x HTTP/1.1\r\nHost: {}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    sock.sendall(head.format(POSTING).encode())
    assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"abc")
    assert read_answer(sock, "POST").body == b"3 bytes"
    sock.sendall(head.format(NAME).encode())
    assert read_answer(sock, "POST").reason == "method-not-allowed"


# Refused.


def test_a_denied_method_is_a_typed_problem_and_nothing_is_asked_or_dialled_e7(gateway) -> None:
    answer = gateway.get(method="DELETE")
    assert (answer.status, answer.reason) == (403, "method-not-allowed")
    assert answer.headers["X-Egress-Request-Id"]
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"], record["status"]) == ("denied", "method-not-allowed", 403)
    assert record["request_id"] == answer.headers["X-Egress-Request-Id"]
    stats = gateway.stats()
    assert (stats["asked"], stats["dialled"]) == ([], [])


def test_each_request_on_a_connection_is_judged_anew_e4(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(
        f"GET /hello HTTP/1.1\r\nHost: {NAME}\r\n\r\nDELETE /hello HTTP/1.1\r\nHost: {NAME}\r\n\r\n"
        f"GET /hello HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    )
    assert [read_answer(sock).status for _ in range(3)] == [200, 403, 200]
    assert [method for method, _, _ in gateway.plain.seen] == ["GET", "GET"]
    assert [record["reason"] for record in gateway.records(3)] == [
        "allowed-by-profile", "method-not-allowed", "allowed-by-profile",
    ]  # fmt: skip


def test_two_thousand_pipelined_denials_do_not_exhaust_the_stack(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(b"DELETE / HTTP/1.1\r\nHost: a.net\r\n\r\n" * 2000)
    assert [read_answer(sock).status for _ in range(2000)] == [403] * 2000
    assert gateway.get(sock=sock).status == 200


def test_a_body_behind_a_denied_head_is_not_read_as_a_request(gateway) -> None:
    sock = gateway.connect(80)
    inner = f"GET /smuggle HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    answer = gateway.get(method="PUT", sock=sock, headers=[f"Content-Length: {len(inner)}"], body=inner)
    assert answer.status == 403
    assert answer.closes
    assert sock.recv(1000) == b""
    assert gateway.plain.seen == []


def test_what_is_no_http_is_answered_400_and_recorded_as_a_connection_d14_e3(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(b"\x05\x01\x00" + b"\r\n\r\n")
    answer = read_answer(sock)
    assert answer.status == 400
    assert sock.recv(10) == b""
    (record,) = gateway.records(1)
    assert (record["kind"], record["outcome"], record["status"]) == ("connection", "denied", 400)


def test_host_must_be_the_server_name_d4(gateway) -> None:
    sock = gateway.secure(NAME)
    assert gateway.get(sock=sock).status == 200
    answer = gateway.get(host=OTHER, sock=sock)
    assert (answer.status, answer.reason) == (421, "host-not-server-name")
    assert hosts(gateway) == [NAME]


def test_host_port_must_be_the_connections_e5(gateway) -> None:
    assert gateway.get(host=f"{NAME}:81").reason == "port-mismatch"
    assert gateway.get(host=f"{NAME}:444", sock=gateway.secure(NAME)).reason == "port-mismatch"
    assert gateway.get(host=f"{NAME}:443", sock=gateway.secure(NAME)).status == 200


def test_a_literal_address_is_refused_a1(gateway) -> None:
    answer = gateway.get(host=gateway.address)
    assert (answer.status, answer.reason) == (403, "host-is-address")
    assert gateway.stats()["dialled"] == []


def test_one_private_address_condemns_the_set_b7(gateway) -> None:
    answer = gateway.get(host=PRIVATE)
    assert (answer.status, answer.reason) == (403, "private-address")
    assert gateway.stats()["dialled"] == []


def test_a_destination_that_the_name_was_not_resolved_to_is_refused_d5(start) -> None:
    gateway = start(names={NAME: ["127.0.0.77"]})
    assert gateway.get().reason == "destination-not-pinned"
    assert gateway.get(sock=gateway.secure(NAME)).reason == "destination-not-pinned"
    assert gateway.stats()["dialled"] == []


def test_a_name_that_does_not_exist_is_502(gateway) -> None:
    answer = gateway.get("http://nowhere.site-under-test.net/", host="nowhere.site-under-test.net")
    assert (answer.status, answer.reason) == (502, "name-does-not-exist")
    assert gateway.records(1)[0]["outcome"] == "failed"


def test_connect_of_a_denied_host_or_port_is_refused_without_dialling_d1_d2(gateway) -> None:
    for target in ("8.8.8.8:443", f"{NAME}:22", "localhost:443"):
        sock = gateway.connect(3128)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert read_answer(sock).status == 403
    assert [record["method"] for record in gateway.records(3)] == ["CONNECT"] * 3
    stats = gateway.stats()
    assert (stats["asked"], stats["dialled"]) == ([], [])


def test_connect_inside_a_tunnel_is_refused(gateway) -> None:
    sock = gateway.wrap(gateway.proxy(f"{NAME}:443"), NAME)
    sock.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n".encode())
    assert read_answer(sock).reason == "connect-in-tunnel"


def test_upgrade_is_refused_e13(gateway) -> None:
    answer = gateway.get(headers=["Upgrade: websocket", "Connection: Upgrade"])
    assert (answer.status, answer.reason) == (403, "upgrade-not-allowed")
    assert gateway.plain.seen == []


def test_a_chunked_body_is_cut_at_the_cap_f1(start) -> None:
    gateway = start(caps={"request_body_bytes": 10_000})
    body = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    answer = gateway.get(
        method="POST", host=POSTING, headers=["Transfer-Encoding: chunked"], body=body * 2 + b"0\r\n\r\n"
    )
    assert (answer.status, answer.reason) == (413, "body-too-large")
    assert gateway.plain.seen == []


def test_a_response_over_the_cap_is_refused_or_cut(start) -> None:
    gateway = start(caps={"response_body_bytes": 10})
    answer = gateway.get("/big?n=11")
    assert (answer.status, answer.reason) == (502, "response-too-large")
    sock = gateway.connect(80)
    sock.sendall(f"GET /chunked HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    data = b""
    with suppress(ConnectionResetError):  # a typed refusal when it all came at once, else a cut
        while block := sock.recv(65536):
            data += block
    assert b"three" not in data
    assert [record["reason"] for record in gateway.records(2)] == ["response-too-large"] * 2


def test_an_encoded_slash_is_refused_by_policy_and_not_as_malformed_e10(gateway) -> None:
    """A rule may allow it (npm's scoped packages); the profile never does."""
    answer = gateway.get("/@scope%2fname")
    assert answer.status == 403
    assert hosts(gateway) == []
    (record,) = gateway.records(1)
    assert (record["outcome"], record["path"]) == ("denied", "/@scope%2Fname")


# Redirects (E14): an answer as any other; where it leads to is judged when it is asked for.

INTERNAL = "http://169.254.169.254/latest/meta-data/"
LOCATIONS = (
    "/hello", f"http://{OTHER}/hello", f"https://{NAME}/hello", INTERNAL, f"http://{PRIVATE}/", "http://localhost:8080/",
    "http://2130706433/", "//elsewhere.net/x", "file:///etc/passwd", "gopher://x.net/_x",
    f"http://user:s3cret@{OTHER}/", "https://[::1]/", "",
)  # fmt: skip


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_passed_on_untouched_and_nothing_follows_it_e14(gateway, status, secure) -> None:
    sock = gateway.secure(NAME) if secure else gateway.connect(80)
    for location in LOCATIONS:
        answer = gateway.get(f"/redirect?status={status}&to={quote(location, safe='')}%20", sock=sock)
        assert (answer.status, answer.headers["Location"]) == (status, location)
    stats = gateway.stats()
    assert set(stats["asked"]) == {NAME}
    assert len(stats["dialled"]) == 1
    assert {target.partition("?")[0] for _, target, _ in gateway.plain.seen + gateway.tls.seen} == {
        "/redirect"
    }
    assert "s3cret" not in str(gateway.records(len(LOCATIONS)))


def test_whoever_follows_it_is_judged_anew_e14(gateway) -> None:
    sock = gateway.connect(80)
    assert gateway.get(f"/redirect?status=302&to={quote(INTERNAL)}", sock=sock).status == 302
    proxied = gateway.connect(3128)
    for target, host, status, reason in (
        (INTERNAL, "169.254.169.254", 403, "host-is-address"),
        (f"http://{PRIVATE}/", PRIVATE, 403, "private-address"),
        ("http://localhost:8080/", "localhost:8080", 403, "name-not-public"),
        (f"http://{NAME}:8080/", f"{NAME}:8080", 403, "port-not-allowed"),
    ):
        answer = gateway.get(target, host=host, sock=proxied)
        assert (answer.status, answer.reason) == (status, reason)
    for target, host, reason in (
        (f"https://{NAME}/hello", NAME, "target-https-in-plain"),
        ("file:///etc/passwd", NAME, "scheme-not-supported"),
        (f"http://user:s3cret@{OTHER}/", OTHER, "authority-userinfo"),
    ):
        assert gateway.get(target, host=host, sock=gateway.connect(3128)).reason == reason
    # On the connection that the redirect came over as well: another host is another request.
    assert gateway.get("/", host="169.254.169.254", sock=sock).reason == "host-is-address"
    assert gateway.get(host=OTHER, sock=sock).status == 200
    inside = gateway.secure(NAME)
    assert gateway.get(f"/redirect?status=307&to={quote(f'https://{OTHER}/')}", sock=inside).status == 307
    assert gateway.get(host=OTHER, sock=inside).reason == "host-not-server-name"
    assert hosts(gateway) == [NAME, OTHER, NAME]


def test_credentials_go_where_the_client_sends_them_and_nowhere_else_e14(gateway) -> None:
    """Nothing of ours is added to a request, so a redirect can carry nothing of ours away."""
    sock = gateway.connect(80)
    headers = ["Authorization: Bearer s3cret", "Cookie: a=s3cret"]
    assert (
        gateway.get(f"/redirect?status=302&to={quote(f'http://{OTHER}/')}", sock=sock, headers=headers).status
        == 302
    )
    assert gateway.get(host=OTHER, sock=sock).status == 200
    (_, _, first), (_, _, second) = gateway.plain.seen
    assert {first[name] for name in ("Authorization", "Cookie")} == {"Bearer s3cret", "a=s3cret"}
    assert second == {"Host": OTHER}
    assert "s3cret" not in str(gateway.records(2))

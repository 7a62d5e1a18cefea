from __future__ import annotations

from appliance.verify.tunnels import connect, greet, inside
from appliance.verify.world import Site

SITE = Site("www.example.net", "198.51.100.7")


def test_what_goes_inside_tls_goes_by_both_ways_under_the_name_of_the_site() -> None:
    one, two = inside("D4.0", SITE, b"bytes", "said", methods=("PUT",))
    assert (one.connect, one.to, two.connect, two.to) == (
        "www.example.net:443",
        None,
        None,
        (SITE.address, 443),
    )
    for attempt in (one, two):
        assert (attempt.server_name, attempt.send, attempt.methods) == (SITE.name, (b"bytes",), ("PUT",))


def test_a_client_hello_of_its_own_goes_by_both_ways_without_tls_of_ours() -> None:
    one, two = greet("D3.0", SITE, b"hello", "in the tunnel", "past the proxy")
    assert (one.connect, one.expect, two.to, two.expect) == (
        "www.example.net:443", "in the tunnel", (SITE.address, 443), "past the proxy",
    )  # fmt: skip
    assert one.server_name is two.server_name is None


def test_a_connect_names_its_authority_twice() -> None:
    assert connect("a.net:443") == b"CONNECT a.net:443 HTTP/1.1\r\nHost: a.net:443\r\n\r\n"

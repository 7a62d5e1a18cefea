"""Addresses of the broker's own destinations: https, by name, read by the reader that writes the request."""

from __future__ import annotations

import pytest

from appliance.platform_url import service_of


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://ca.example/sign", ("ca.example", 443)),
        ("https://CA.example:8443", ("ca.example", 8443)),
        ("https://ca.example/keys?of=us", ("ca.example", 443)),
    ],
)
def test_host_and_port_of_a_url(url: str, service: tuple[str, int]) -> None:
    assert service_of(url) == service


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://ca.example/sign", "write https://"),
        ("ca.example", "no URL"),
        ("https://me@ca.example/", "no URL"),
        ("https://ca.example/#here", "no URL"),
        ("https://ca.example:0/", "no URL"),
        ("https://192.0.2.1/", "names an address"),
        ("https://[2001:db8::1]/", "names an address"),
        ("file:///etc/passwd", "no URL"),
        ("", "no URL"),
    ],
)
def test_what_is_no_address_of_a_server_that_can_prove_itself(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        service_of(url)

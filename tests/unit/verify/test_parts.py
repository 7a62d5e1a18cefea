"""appliance.verify.parts: commands as a container gets them, canaries whose control does what the workload tries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.verify import client
from appliance.verify.parts import any_question, asked, at_address, errand, opened, requested
from tests.unit.verify.recording import Recording


def test_an_errand_is_the_text_the_way_and_what() -> None:
    *_, text, way, what = errand(client.ask, [["a:", "", "udp", "A", "x"]])
    assert "def ask" in text
    assert (way, json.loads(what)) == ("ask", [["a:", "", "udp", "A", "x"]])


def test_curl_is_kept_from_the_proxy_when_it_is_given_an_address() -> None:
    assert at_address("a", 80, "192.0.2.1") == ["--noproxy", "*", "--resolve", "a:80:192.0.2.1", "--insecure"]


@pytest.mark.parametrize(
    ("port", "protocol", "words"),
    [
        (53, "udp", ("dns", "192.0.2.1", "control.exfil.example.com", "udp")),
        (53, "tcp", ("dns", "192.0.2.1", "control.exfil.example.com", "tcp")),
        (443, "udp", ("udp", "192.0.2.1", "443")),
        (443, "tcp", ("tcp", "192.0.2.1", "443", "GET / HTTP/1.0\\r\\n\\r\\n")),
    ],
)
def test_the_control_speaks_as_the_port_expects(port: int, protocol: str, words: tuple[str, ...]) -> None:
    world: Any = Recording()
    opened(world, "192.0.2.1", port, protocol).touch()
    assert world.did == [("packets", "192.0.2.1", protocol, port), ("probe", *words)]


def test_the_control_of_a_beginning_asks_for_something_that_begins_so() -> None:
    world: Any = Recording()
    site = world.targets.www
    requested(world, site, "/canary/F1/*", "POST", "--data", "x").touch()
    assert world.did == [
        ("requests", site.name, "POST", "/canary/F1/*"),
        ("fetch", site, "/canary/F1/control", "--request", "POST", "--data", "x"),
    ]


def test_the_control_asks_for_the_very_name() -> None:
    world: Any = Recording()
    asked(world, "a.exfil.example.com").touch()
    any_question(world).touch()
    assert [words for words in world.did if words[0] == "asks"] == [
        ("asks", "a.exfil.example.com"),
        ("asks", "control.exfil.example.com"),
    ]

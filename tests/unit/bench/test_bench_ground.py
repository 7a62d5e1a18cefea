"""How peers' ways are steered, and who is pinned where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import ground, origin
from tests.bench.__main__ import ALONE, ON_THE_FIELD
from tests.bench.ground import Way
from tests.lab import internet

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "words"), [(ground.by_tproxy(), "tproxy to"), (ground.by_redirect(), "redirect to")]
)
def test_both_ports_are_taken_from_the_clients_link(text: str, words: str) -> None:
    assert text.count('iifname "client"') == text.count(words) == 2
    assert f"dport 80 {words} :{ground.PLAIN_PORT}" in text
    assert f"dport 443 {words} :{ground.TLS_PORT}" in text


def test_namespaces_are_the_labs_so_that_it_removes_them_and_proves_them_closed() -> None:
    way = Way("squid", 3)
    assert way.gateway.startswith(internet.PREFIX)
    assert way.client.startswith(internet.PREFIX)
    assert way.gateway != way.client
    assert way.address == "10.99.3.1"


def test_a_pinned_command_stays_as_it_is() -> None:
    assert ground.pinned(1, ("wrk", "-t1"))[-2:] == ("wrk", "-t1")
    assert "taskset -c 1 nice -n -10" in ground.pinned(1, ("wrk",))[2]


def test_the_origin_serves_every_path_of_the_loads() -> None:
    text = origin.configuration(Path("/srv/origin"))
    assert "location /o/ { try_files /object.txt =404; }" in text
    assert f"location = {origin.BULK_PATH} " in text
    assert f"listen {origin.SITE.address}:443 ssl" in text


def test_every_measure_is_there() -> None:
    for module in ALONE.values():
        text = (ROOT / "tests" / "bench" / f"{module}.py").read_text()
        assert "def measure(rounds: int) -> list[Row]:" in text, module
    assert not set(ON_THE_FIELD) & set(ALONE)

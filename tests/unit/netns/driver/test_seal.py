"""The text of the seal, and how we see that it holds (B9)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netns.driver.seal import first_seal, seal_holds, seal_ruleset, seal_table

GATEWAY = IPv4Address("172.29.0.1")
GOOD = "1\n" + seal_table(GATEWAY)


def test_it_replaces_itself_in_one_transaction() -> None:
    lines = seal_ruleset(GATEWAY).splitlines()
    assert lines[:2] == ["table ip egress_seal", "delete table ip egress_seal"]


def test_the_first_one_deletes_nothing_and_is_refused_where_there_is_a_table() -> None:
    text = first_seal(GATEWAY)
    assert text.startswith("create table ip egress_seal\n")
    assert "delete" not in text
    assert text.endswith(seal_table(GATEWAY))


def test_it_holds() -> None:
    assert seal_holds(GOOD, GATEWAY)
    assert seal_holds(GOOD.replace("\t", "    "), GATEWAY)


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "1\n",
        "0\n" + seal_table(GATEWAY),
        "1\n" + seal_table(IPv4Address("172.29.0.2")),
        GOOD.replace("\t\tip daddr 127.0.0.11 drop\n", ""),
        GOOD.replace("udp dport 53", "udp dport 54"),
        GOOD.replace("priority -150", "priority -50"),
        GOOD.replace("ip daddr 127.0.0.11 udp", "ip daddr 127.0.0.11 accept\n\t\tip daddr 127.0.0.11 udp"),
    ],
)
def test_anything_else_does_not(listing: str) -> None:
    assert not seal_holds(listing, GATEWAY)

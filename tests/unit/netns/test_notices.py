"""Sentences of netlink datagrams; bytes as Linux 6.18 sent them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.notices import Notice, Transactions, route_notices


def message(kind, body, port=0):
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, 0, 0, port) + body + bytes(-length % 4)


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def nft(kind, table):
    return message(10 << 8 | kind, b"\1\0\0\4" + attribute(1, table.encode() + b"\0"))


def generation(process=29063, command="nft"):
    body = (
        attribute(1, b"\0\0\0\4")
        + attribute(2, process.to_bytes(4, "big"))
        + attribute(3, command.encode() + b"\0")
    )
    return message(10 << 8 | 15, b"\0\0\0\4" + body)


# `nft flush ruleset`, one table with a rule and a set; then the message that ends the transaction.
FLUSH = nft(8, "egress") + nft(11, "egress") + nft(5, "egress") + nft(2, "egress")
CAPTURED_END = bytes.fromhex(
    "2c0000000f0a00000000000087710000" "00000004" "0800010000000004" "0800020000007187" "080003006e667400"
)  # fmt: skip


def test_a_transaction_is_told_once_when_it_ends_with_who_made_it():
    transactions = Transactions()
    assert list(transactions.take(FLUSH)) == []
    (notice,) = transactions.take(CAPTURED_END)
    assert notice == Notice("chain removed in table egress, table removed in table egress", "nft (pid 29063)")
    assert list(transactions.take(generation())) == []


def test_our_own_transaction_is_told_as_such():
    transactions = Transactions(own=(29063,))
    list(transactions.take(FLUSH))
    (notice,) = transactions.take(generation(29063))
    assert notice.own


def test_outside_only_the_tables_that_matter_count():
    transactions = Transactions(tables=frozenset({"filter", "egress_host"}))
    list(transactions.take(nft(6, "kube-proxy")))
    assert list(transactions.take(generation())) == []
    list(transactions.take(nft(8, "filter")))
    (notice,) = transactions.take(generation(5, "iptables"))
    assert str(notice) == "rule removed in table filter, by iptables (pid 5)"


def test_messages_of_other_subsystems_are_none_of_ours():
    transactions = Transactions()
    list(transactions.take(message(1 << 8 | 6, b"\1\0\0\4" + attribute(1, b"egress\0"))))
    assert list(transactions.take(generation())) == []


def link(name, kind=16):
    return message(kind, bytes(16) + attribute(3, name.encode() + b"\0"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [(17, "link removed"), (21, "address removed"), (25, "route removed"), (33, "routing rule removed"),
     (29, "neighbour removed")],
)  # fmt: skip
def test_each_kind_of_rtnetlink_has_its_words(kind, said):
    assert [n.what for n in route_notices(message(kind, bytes(20)))] == [said]


def settings_of(index):
    return message(80, b"\2\0\0\0" + attribute(1, struct.pack("=i", index)) + attribute(2, b"\0\0\0\0"))


@pytest.mark.parametrize("index", [-1, -2])
def test_settings_of_all_links_and_of_new_ones_count(index):
    assert [n.what for n in route_notices(settings_of(index))] == ["forwarding or source check changed"]


def test_one_links_own_settings_do_not():
    assert list(route_notices(settings_of(7))) == []


def test_what_is_expected_is_our_own():
    datagram = message(24, bytes(12), port=77) + message(25, bytes(12), port=78)
    notices = list(route_notices(datagram, expected=lambda kind, port, body: (kind, port) == (24, 77)))
    assert [notice.own for notice in notices] == [True, False]


def test_several_messages_in_one_datagram_and_the_asker():
    datagram = message(25, bytes(12), port=77) + link("t-1", 17)
    assert list(map(str, route_notices(datagram))) == ["route removed, by pid 77", "link removed"]


def test_outside_only_the_uplink_and_what_holds_for_all_links():
    mentions = b"up-egress\0"
    assert list(route_notices(link("veth12"), mentions)) == []
    assert len(list(route_notices(link("up-egress"), mentions))) == 1
    every = attribute(1, b"\xff\xff\xff\xff") + attribute(2, b"\0\0\0\0")
    assert len(list(route_notices(message(80, b"\2\0\0\0" + every), mentions))) == 1
    assert list(route_notices(settings_of(7), mentions)) == []


def test_what_we_do_not_know_is_no_notice():
    assert list(route_notices(message(18, bytes(16)))) == []


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_without_an_exception(data):
    list(route_notices(data))
    list(Transactions().take(data))
    list(Transactions().take(message(10 << 8 | 15, data)))

"""What nft makes of our texts."""

import socket
import subprocess

import pytest

from netns import libnftables, namespaces, nft

pytestmark = pytest.mark.system

TEXT = """table inet probe
delete table inet probe
table inet probe {
counter seen {
packets 3 bytes 30
}
set pairs {
type ifname . ipv4_addr
elements = { "a" . 10.0.0.1, "b" . 10.0.0.2, "c" . 10.0.0.3, "d" . 10.0.0.4 }
}
chain steer {
type filter hook prerouting priority mangle
policy accept
meta l4proto tcp counter name seen tproxy ip to :jhash ip saddr mod 2 seed 0x1 map { 0 : 15001, 1 : 15002 }
}
}
"""


def canonical(text):
    return nft.canonical.__wrapped__("inet", "probe", text)


def test_one_text_has_one_form_whatever_the_order_of_a_hash_set():
    assert len({canonical(TEXT) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    "change",
    [
        ("15002", "15003"),
        ("10.0.0.4", "10.0.0.5"),
        ("policy accept", "policy drop"),
        ("mod 2 seed 0x1", "mod 2 seed 0x2"),
        ("meta l4proto tcp", "meta l4proto udp"),
    ],
)
def test_every_change_shows_even_those_that_nft_does_not_list(change):
    """nft 1.0.6 lists `tproxy to :jhash … map { … }` without its map: a worker's port must still be seen."""
    assert canonical(TEXT.replace(*change)) != canonical(TEXT)


def test_counts_are_no_difference():
    assert canonical(TEXT.replace("packets 3 bytes 30", "packets 4 bytes 40")) == canonical(TEXT)


def test_what_is_loaded_is_listed_and_counted():
    with namespaces.scratch():
        nft.load(TEXT)
        assert nft.listing("inet", "probe") == canonical(TEXT)
        assert nft.counters("inet", "probe") == {"seen": (3, 30)}
        assert len(nft.elements("inet", "probe", "pairs")) == 4
        nft.delete_table("inet", "probe")
        nft.delete_table("inet", "probe")
        assert nft.listing("inet", "probe") is None
        assert nft.counters("inet", "probe") == {}


def test_a_text_that_is_wrong_at_its_end_changes_nothing():
    with namespaces.scratch():
        nft.load(TEXT)
        with pytest.raises(nft.NftError):
            nft.load(TEXT.replace("15002", "15003") + "nonsense\n")
        assert nft.listing("inet", "probe") == canonical(TEXT)


def test_what_the_kernel_cannot_do_is_said_with_the_mend():
    with pytest.raises(nft.NftError, match="modprobe nft_tproxy"):
        canonical(TEXT.replace("meta l4proto tcp", "meta nosuchthing tcp"))


def test_nft_absent_is_said_with_the_mend(monkeypatch):
    libnftables._library.cache_clear()
    monkeypatch.setattr(libnftables, "_SONAME", "libnonexistent.so.1")
    with pytest.raises(nft.NftError, match="apt-get install nftables"):
        nft.listing("inet", "probe")


FILLED = """table inet probe
delete table inet probe
table inet probe {
set opening {
type ipv4_addr
size 16
flags dynamic,timeout
timeout 1m
}
set fixed {
type ipv4_addr
elements = { 10.0.0.1 }
}
chain count {
type filter hook output priority filter
policy accept
update @opening { ip daddr limit rate over 400/second burst 800 packets } drop
}
}
"""


def test_what_rules_put_into_a_set_is_no_difference_and_all_else_is():
    with namespaces.scratch():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        nft.load(FILLED)
        before = nft.listing("inet", "probe")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"x", ("127.0.0.1", 9))
            sending.sendto(b"x", ("127.0.0.2", 9))
        assert len(nft.elements("inet", "probe", "opening")) == 2
        assert nft.listing("inet", "probe") == before
        nft.change("add element inet probe fixed { 10.0.0.2 }\n")
        assert nft.listing("inet", "probe") != before
    assert canonical(FILLED.replace("400/second", "401/second")) != before

from __future__ import annotations

import struct

import pytest

from appliance.verify.live import packets
from appliance.verify.live.packets import IPV4, IPV6, Packet

OWN = "198.18.83.2"


def seen(data: bytes, *, control: bool = False) -> Packet:
    found = packets.read(data, IPV6 if data[0] >> 4 == 6 else IPV4, "uplink", control=control)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("words", "protocol", "port"),
    [
        (("tcp", "10.0.1.5", "443", "GET"), "tcp", 443),
        (("udp", "10.0.1.5", "9999"), "udp", 9999),
        (("dns", "10.0.1.5", "a.invalid"), "udp", 53),
        (("dns", "10.0.1.5", "a.invalid", "udp"), "udp", 53),
        (("dns", "10.0.1.5", "a.invalid", "tcp"), "tcp", 53),
        (("icmp", "10.0.1.5"), "icmp", 0),
        (("raw", "10.0.1.5", "47"), "47", 0),
        (("tcp", "2001:db8::5", "80"), "tcp", 80),
    ],
)
def test_what_the_control_writes_is_read_as_what_the_workload_would_send(
    words: tuple[str, ...], protocol: str, port: int
) -> None:
    packet = seen(packets.as_sent(words, OWN))
    assert (packet.protocol, packet.destination, packet.port) == (protocol, words[1], port)
    assert packet.version == (6 if ":" in words[1] else 4)


def test_an_attempt_without_a_packet_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="lookup"):
        packets.as_sent(("lookup", "a.invalid"), OWN)


def test_the_header_has_the_sum_that_a_router_checks() -> None:
    header = packets.opening("10.0.1.5", 80, OWN)[:20]
    total = sum(struct.unpack("!10H", header))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_a_name_is_found_as_labels_and_as_text_whatever_its_case() -> None:
    asked = seen(packets.as_sent(("dns", "10.0.1.5", "B3-x.Verify.Invalid"), OWN))
    said = seen(packets.datagram("10.0.1.5", 80, b"Host: B3-X.verify.invalid", OWN))
    for packet in (asked, said):
        assert packets.mentions(packet, "b3-x.verify.invalid")
        assert not packets.mentions(packet, "b3-y.verify.invalid")


def test_housekeeping_of_ipv6_and_other_frames_are_nobodys_attempt() -> None:
    solicited = packets.packet("fe80::1", packets.ICMP6, b"\x87", OWN)
    assert packets.read(solicited, IPV6, "uplink", control=False) is None
    assert packets.read(packets.datagram("ff02::1", 9, b"", OWN), IPV6, "uplink", control=False) is None
    assert packets.read(b"\0\1", 0x0806, "uplink", control=False) is None
    assert packets.read(b"\x45", IPV4, "uplink", control=False) is None


def test_an_answer_has_the_address_behind_the_question() -> None:
    question = packets.question("a.invalid", b"\1\2")
    answer = packets.answer(question, "45.33.32.99")
    assert answer[:2] == b"\1\2"
    assert struct.unpack("!H", answer[6:8]) == (1,)
    assert answer[-4:] == bytes((45, 33, 32, 99))


def taken(data: bytes, ethertype: int = IPV4) -> bool:
    """The filter, run as the kernel would."""
    a = x = at = 0
    while True:
        code, yes, no, k = packets.FILTER[at]
        at += 1
        match code:
            case 0x28:
                a = ethertype if k >= 0xFFFFF000 else int.from_bytes(data[k : k + 2], "big")
            case 0x30:
                a = data[k]
            case 0xB1:
                x = (data[k] & 15) * 4
            case 0x50:
                a = data[x + k]
            case 0x48:
                a = int.from_bytes(data[x + k : x + k + 2], "big")
            case 0x15:
                at += yes if a == k else no
            case 0x45:
                at += yes if a & k else no
            case _:
                assert code == 0x06
                return k > 0


def test_the_filter_leaves_nothing_but_the_middle_of_tcp() -> None:
    syn = packets.opening("10.0.1.5", 443, OWN)
    middle = syn[:33] + b"\x10" + syn[34:]  # ACK
    assert taken(syn)
    assert not taken(middle)
    assert taken(middle[:22] + b"\0\x35" + middle[24:]), "a question over TCP"
    assert taken(middle[:6] + b"\0\x10" + middle[8:]), "a later fragment"
    assert taken(packets.datagram("10.0.1.5", 443, b"x", OWN))
    assert taken(packets.packet("10.0.1.5", 47, b"x", OWN))
    assert taken(packets.opening("2001:db8::5", 443, OWN), IPV6)
    assert taken(b"\0" * 28, 0x0806)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.tls.records import Records


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(1, 30))
def test_it_is_whole_exactly_where_a_record_ends(sizes, step) -> None:
    wire, ends = b"", {0}
    for size in sizes:
        wire += record(size)
        ends.add(len(wire))
    records = Records()
    assert records.whole
    for at in range(0, len(wire), step):
        piece = wire[at : at + step]
        records.feed(piece)
        assert records.whole is (at + len(piece) in ends)


def test_the_longest_there_is() -> None:
    records = Records()
    records.feed(record(0xFFFF)[:-1])
    assert not records.whole
    records.feed(b"\0")
    assert records.whole

"""Audit files that a process taken over may have written: read, verified, taken up again; never an exception (F7)."""

from __future__ import annotations

import hashlib

from appliance.audit.chain import BrokenRecord, Head, unseal
from appliance.audit.lines import Line
from appliance.audit.read import Selection, _parse, _sequence, _time
from appliance.audit.record import Kind
from appliance.audit.tail import DamagedLog, is_mark_of, mark, read_tail
from appliance.audit.verify import Report, verify_lines
from tests.unit.audit.written import seal

FIRST, HEAD = seal({"time": "2026-01-31T23:59:59.000001Z", "kind": "lifecycle", "event": "started"}, Head())
SECOND, _ = seal(
    {"time": "2026-01-31T23:59:59.000002Z", "kind": "dns", "tenant": "acme", "outcome": "denied"}, HEAD
)
SEEDS = (
    b"\x00" + FIRST + SECOND,
    b"\x00" + FIRST + SECOND[:-20],
    b"\x00" + FIRST + SECOND[:40] + b"\n" + SECOND,
    b"\x00" + SECOND + FIRST,
    b"\x00" + FIRST + b"\0" * 100,
    b"\x00\n\n\n\n\n\n",
    b'\x01{"sequence":1e999,"prev":"x"}',
    b'\x01{"sequence":Infinity,"prev":null}',
    b'\x01{"sequence":"2","prev":{}}',
    b'\x01{"sequence":2}',
    b"\x01[1]",
    b'\x01{"sequence":1,"prev":"","kind":[],"time":{"a":1},"tenant":[],"outcome":{}}',
    b'\x01{"sequence":1,"prev":"","a":' + b"[" * 1500 + b"}",
    b'\x01{"sequence":' + b"9" * 4400 + b',"prev":""}',
)  # fmt: skip
TOKENS = (
    b'"sequence":', b'"prev":', b'"hash":"', b'"time":', b'"kind":', b'"tenant":', b'"outcome":', b'"endpoint":', b"1e999",
    b"Infinity", b"NaN", b"[[[[", b"{", b"}", b"\n", b"\\ud800", b"\0\0\0\0", FIRST, SECOND,
)  # fmt: skip
SELECTIONS = (
    Selection(),
    Selection(tenant="acme", run="r", container="c"),
    Selection(refused=True, kinds=frozenset({Kind.DNS, Kind.REQUEST}), since="2026", until="2027"),
)


def one(data: bytes) -> None:
    """Odd first octet: the rest is a record without its digest, which is added (its writer can compute it, too)."""
    if not data:
        return
    content = data[1:]
    if data[0] & 1:
        digest = hashlib.sha256(content).hexdigest()
        content = FIRST + content[:-1] + b',"hash":"' + digest.encode() + b'"}\n'
    parts = content.split(b"\n")
    lines = [
        Line("f", number, part, number < len(parts))
        for number, part in enumerate(parts, 1)
        if part or number < len(parts)
    ]
    for line in lines:
        _check_line(line.content)
    report = verify_lines(lines)
    assert isinstance(report, Report)
    assert report.records <= len(lines)
    try:
        tail = read_tail(content)
    except DamagedLog:
        return
    assert content.endswith(tail.damage)
    if tail.damage:
        composed = {"event": mark(tail.damage, "f").event, "subject": mark(tail.damage, "f").subject}
        line, _ = seal(composed, tail.head or Head())
        assert is_mark_of(unseal(line[:-1]).record, tail.damage)


def _check_line(content: bytes) -> None:
    try:
        sealed = unseal(content)
    except BrokenRecord:
        pass
    else:
        assert isinstance(sealed.record, dict)
        assert sealed.head.sequence >= 0
    record = _parse(content)
    if record is not None:
        assert isinstance(_time(record), str)
        assert isinstance(_sequence(record), int)
        for selection in SELECTIONS:
            selection.matches(record)

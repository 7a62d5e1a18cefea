"""appliance.audit.chain: one changed octet is noticed."""

from __future__ import annotations

import hashlib
import json

import pytest

from appliance.audit.chain import BrokenRecord, Head, unseal
from tests.unit.audit.written import seal


def test_a_sealed_line_reads_back_with_its_number_digest_and_predecessor() -> None:
    line, head = seal({"kind": "lifecycle"}, Head(4, "a" * 64))
    sealed = unseal(line.removesuffix(b"\n"))
    assert sealed.record == json.loads(line)
    assert (sealed.head, sealed.previous, head.sequence) == (head, "a" * 64, 5)
    assert sealed.follows(Head(4, "a" * 64))


def test_it_follows_neither_another_number_nor_another_digest() -> None:
    line, _ = seal({"kind": "lifecycle"}, Head(4, "a" * 64))
    sealed = unseal(line.removesuffix(b"\n"))
    assert not sealed.follows(Head(3, "a" * 64))
    assert not sealed.follows(Head(4, "b" * 64))


def test_every_changed_octet_is_noticed() -> None:
    line = seal({"host": "ok.example", "port": 443}, Head())[0].removesuffix(b"\n")
    for index in range(len(line)):
        changed = bytearray(line)
        changed[index] ^= 1
        with pytest.raises(BrokenRecord):
            unseal(bytes(changed))


def test_every_cut_line_is_noticed() -> None:
    line = seal({"host": "ok.example"}, Head())[0].removesuffix(b"\n")
    for length in range(len(line)):
        with pytest.raises(BrokenRecord):
            unseal(line[:length])


def test_hostile_text_cannot_end_a_line_or_forge_a_field() -> None:
    line, _ = seal({"path": '\n"},"hash":"' + "0" * 64 + '"}\x1b[2J  '}, Head())
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert b"\x1b" not in line
    assert unseal(line.removesuffix(b"\n")).head.sequence == 1


def test_not_a_number_is_our_bug_and_not_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        seal({"duration_ms": float("nan")}, Head())


@pytest.mark.parametrize(
    "body",
    [
        b'{"sequence":1e999,"prev":""}',
        b'{"sequence":true,"prev":""}',
        b'{"sequence":"1","prev":""}',
        b'{"sequence":0,"prev":""}',
        b'{"sequence":1,"prev":null}',
        b'{"sequence":' + b"9" * 5000 + b',"prev":""}',
        b'{"sequence":1,"prev":"","a":' + b"[" * 100_000 + b"}",
        b"[1}",
    ],
)
def test_a_digest_that_matches_makes_no_record_of_anything(body: bytes) -> None:
    """Whoever may write the file can compute a digest, too."""
    line = body[:-1] + b',"hash":"%b"}' % hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(BrokenRecord, match="though its digest matches"):
        unseal(line)

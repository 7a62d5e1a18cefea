from __future__ import annotations

from base64 import b64encode

import pytest

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.headers import OF_THE_BODY, content_encoding
from appliance.broker.scrub.scrubber import Scrubber

SECRET = b"swordfish-7-swordfish"
SCRUBBER = Scrubber([SECRET])


def test_004_37_values_are_scrubbed_in_every_form() -> None:
    fields = [
        (b"X-Echo", b"token " + SECRET),
        (b"Set-Cookie", b"a=" + SECRET.hex().encode() + b"; Path=/"),
        (b"Location", b"https://a.example/?k=%73wordfish-7-swordfish&b=1"),
        (b"WWW-Authenticate", b'Bearer error_description="' + b64encode(SECRET) + b'"'),
        (b"X-Other", b"eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln, next"),
        (b"Date", b"Sat, 21 Nov 2026 20:00:00 GMT"),
    ]
    assert SCRUBBER.fields(fields) == [
        (b"X-Echo", b"token [scrubbed:secret]"),
        (b"Set-Cookie", b"a=[scrubbed:secret]; Path=/"),
        (b"Location", b"https://a.example/?k=[scrubbed:secret]&b=1"),
        (b"WWW-Authenticate", b'Bearer error_description="[scrubbed:secret]"'),
        (b"X-Other", b"[scrubbed:jwt], next"),
        (b"Date", b"Sat, 21 Nov 2026 20:00:00 GMT"),
    ]


def test_004_37_a_field_whose_name_is_a_secret_is_left_out() -> None:
    assert SCRUBBER.fields([(b"X-" + SECRET, b"1"), (b"X-a", b"1")]) == [(b"X-a", b"1")]


def test_what_told_of_the_coded_body_does_not_go_on() -> None:
    gone = [(name.title(), b"1") for name in sorted(OF_THE_BODY)]
    assert SCRUBBER.answer_fields([(b"A", b"1"), *gone, (b"ETag", b'"x"')]) == [
        (b"A", b"1"),
        (b"ETag", b'"x"'),
    ]
    assert {b"content-length", b"content-encoding", b"accept-ranges"} <= OF_THE_BODY


def test_all_codings_are_read_in_order() -> None:
    fields = [(b"content-encoding", b"gzip"), (b"A", b"b"), (b"CONTENT-ENCODING", b"br")]
    assert content_encoding(fields) == [b"gzip", b"br"]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ((b"Content-Range", b"bytes 0-9/100"), "content-partial"),
        ((b"content-range", b""), "content-partial"),
        ((b"Content-Type", b"Multipart/ByteRanges; boundary=a"), "content-partial"),
        ((b"Content-Type", b"text/plain; charset=utf-16"), "content-charset-unknown"),
        ((b"Content-Type", b'application/json;Charset="UTF-16LE"'), "content-charset-unknown"),
        ((b"Content-Type", b"text/xml; charset = utf-32"), "content-charset-unknown"),
        ((b"Content-Type", b"text/plain; charset=utf-7"), "content-charset-unknown"),
        ((b"Content-Type", b"text/plain; charset=ibm037"), "content-charset-unknown"),
        ((b"Content-Type", b"text/plain; charset=utf-8; charset=utf-16"), "content-charset-unknown"),
        ((b"Content-Type", b"text/plain; charset="), "content-charset-unknown"),
    ],
)
def test_004_37_a_body_that_cannot_be_looked_into_is_refused(field: tuple[bytes, bytes], code: str) -> None:
    with pytest.raises(ScrubFault) as caught:
        SCRUBBER.body([(b"A", b"b"), field])
    assert caught.value.code == code


@pytest.mark.parametrize(
    "value",
    [b"text/plain", b"application/json; charset=utf-8", b'text/html;charset="UTF-8"', b"text/plain; charset=ISO-8859-1",
     b"text/csv; header=present; charset=windows-1252", b"text/event-stream; charset=us-ascii", b"image/png", b""],
)  # fmt: skip
def test_other_bodies_are_looked_into(value: bytes) -> None:
    body = SCRUBBER.body([(b"Content-Type", value)])
    assert body.feed(SECRET) + body.end() == b"[scrubbed:secret]"

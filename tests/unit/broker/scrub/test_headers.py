from __future__ import annotations

from base64 import b64encode

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

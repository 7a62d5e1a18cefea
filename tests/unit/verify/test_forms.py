from __future__ import annotations

from appliance.verify.attempts import Way
from appliance.verify.forms import EVERY_WAY, OK, Form, as_sent, by_each, post
from tests.unit.verify.fake_world import TARGETS

SITE = TARGETS.www
FORM = Form("plain", b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n", OK)
CUT = Form("cut", b"GET / HTTP/1.1\r\nHost:", OK)


def test_every_form_goes_by_every_way() -> None:
    made = by_each((FORM, CUT), EVERY_WAY, SITE)
    assert [(attempt.name, attempt.way) for attempt in made] == [
        (form.name, way) for way in EVERY_WAY for form in (FORM, CUT)
    ]


def test_what_stands_behind_follows_a_whole_request_only() -> None:
    whole, cut = by_each((FORM, CUT), (Way.PORT_80,), SITE, behind=b"second")
    assert b"".join(whole.send).endswith(b"second")
    assert b"".join(cut.send) == CUT.request


def test_a_proxy_is_told_the_scheme() -> None:
    assert as_sent(Way.PROXY, FORM.request, SITE).startswith(b"GET http://www.example.com/ ")
    assert as_sent(Way.PORT_80, FORM.request, SITE) == FORM.request


def test_a_post_is_chunked_and_its_body_is_as_given() -> None:
    head, _, body = post(SITE, "/echo", b"1\r\nx\r\n0\r\n\r\n", "X-Kind: odd").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /echo ")
    assert b"Transfer-Encoding: chunked" in head
    assert b"X-Kind: odd" in head
    assert body == b"1\r\nx\r\n0\r\n\r\n"

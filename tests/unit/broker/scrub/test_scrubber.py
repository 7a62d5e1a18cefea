"""One gate for all that is given back (004-41)."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.forms import SHORTEST
from appliance.broker.scrub.scrubber import Scrubber
from tests.unit.broker.scrub.test_forms import TEXT, renderings
from tests.unit.broker.scrub.test_patterns import TRUE


def test_004_37_004_41_all_patterns_and_all_forms_of_live_secrets_are_gone_from_a_result() -> None:
    secret = TEXT.encode()
    forms = [form.decode() for name, form in renderings(secret).items() if name != "json in json in json"]
    tokens = [token for each in TRUE.values() for token in each]
    result = json.dumps({"forms": forms, "tokens": tokens, "kept": "what was asked for"})
    scrubbed = Scrubber([secret]).octets(result.encode()).decode()
    assert "what was asked for" in scrubbed
    for gone in (*forms, *(json.dumps(form)[1:-1] for form in forms), *tokens):
        assert gone not in scrubbed
    assert json.loads(scrubbed)["kept"]


def test_without_live_secrets_the_patterns_remain() -> None:
    assert Scrubber().text("AKIAIOSFODNN7EXAMPLE") == "[scrubbed:aws-access-key-id]"


def test_live_secrets_can_be_taken_out_alone() -> None:
    scrubber = Scrubber([b"first-secret"])
    assert (
        scrubber.without_live(b"first-secret AKIAIOSFODNN7EXAMPLE")
        == b"[scrubbed:secret] AKIAIOSFODNN7EXAMPLE"
    )
    assert Scrubber().without_live(b"AKIAIOSFODNN7EXAMPLE") == b"AKIAIOSFODNN7EXAMPLE"


def test_of_several_live_secrets_each_is_found_and_others_are_not() -> None:
    scrubber = Scrubber([b"first-secret", b"second-secret"])
    assert (
        scrubber.text("first-secret, second-secret, third-secret")
        == "[scrubbed:secret], [scrubbed:secret], third-secret"
    )


def test_scrubbing_twice_changes_nothing() -> None:
    scrubber = Scrubber([b"first-secret"])
    once = scrubber.text("first-secret AKIAIOSFODNN7EXAMPLE eyJhbGciOiJIUzI1NiJ9.e30.x")
    assert scrubber.text(once) == once


def test_a_secret_goes_with_its_scrubber() -> None:
    secret = b"kq7-unlike-anything-else-zz9"
    scrubber = Scrubber([secret])
    assert scrubber.octets(b"<" + secret + b">") == b"<[scrubbed:secret]>"
    del scrubber
    gc.collect()
    quoted = b"".join(b"\\x%02x" % octet for octet in secret[:5])
    texts = (part for each in gc.get_objects() if type(each) is tuple for part in each if type(part) is bytes)
    assert not any(quoted in text or secret in text for text in texts)


def test_nothing_of_a_secret_waits_for_pythons_collector() -> None:
    secret = b"kq7-unlike-anything-else-zz9"
    gc.collect()
    gc.disable()
    try:
        scrubber = Scrubber([secret])
        stream = scrubber.stream()
        stream.feed(b"." * 70_000 + b" %20 k")
        parts = [weakref.ref(part) for part in (scrubber._rules[0], scrubber._rules[0]._glance)]  # type: ignore[attr-defined]
        del scrubber, stream
        assert [part() for part in parts] == [None, None]
        kinds = (tuple, list, set, frozenset, dict)
        held = (each for each in gc.get_objects() if type(each) in kinds)
        texts = [part for each in held for part in list(each) if type(part) is bytes and part is not secret]
        assert not [text for text in texts if secret[:8] in text or secret.hex()[:16].encode() in text]
    finally:
        gc.enable()


def test_a_refusal_does_not_quote_the_secret() -> None:
    with pytest.raises(ScrubFault) as caught:
        Scrubber([b"k" * (SHORTEST - 1)])
    assert "kk" not in str(caught.value)

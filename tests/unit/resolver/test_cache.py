"""How long what upstream said may be used again."""

import pytest

from appliance.resolver.cache import NEGATIVE_ENTRIES, AnswerCache
from appliance.resolver.outcome import Absent, Found, Unusable

from .fakes import PUBLIC, name

OK = name("ok.example")


@pytest.mark.parametrize(
    ("result", "life"),
    [
        (Found((PUBLIC,), (), 60), 60),
        (Found((PUBLIC,), (), 0), 5),
        (Found((PUBLIC,), (), 86400), 300),
        (Absent((), 20, exists=False), 20),
        (Absent((), 0, exists=True), 5),
        (Absent((), 86400, exists=False), 60),
        (Unusable("upstream-failed", "…"), 1),
    ],
)
def test_every_result_has_a_bounded_life(result, life):
    cache = AnswerCache(5, 300)
    entry = cache.put("acme", OK, result, 100)
    assert entry.expires == 100 + life
    assert cache.get("acme", OK, 99.9 + life).result == result
    assert cache.get("acme", OK, 100 + life) is None
    assert len(cache) == 0


def test_a_tenant_neither_uses_nor_sees_what_another_asked():
    cache = AnswerCache(5, 300)
    cache.put("acme", OK, Found((PUBLIC,), (), 60), 0)
    assert cache.get("other", OK, 1) is None


def test_a_newer_result_takes_the_place_of_an_older_of_another_kind():
    cache = AnswerCache(5, 300)
    cache.put("acme", OK, Found((PUBLIC,), (), 60), 0)
    cache.put("acme", OK, Absent((), 60, exists=False), 1)
    assert isinstance(cache.get("acme", OK, 2).result, Absent)
    cache.put("acme", OK, Found((PUBLIC,), (), 60), 3)
    assert isinstance(cache.get("acme", OK, 4).result, Found)
    assert len(cache) == 1


def test_a_failure_does_not_replace_addresses_that_still_hold():
    cache = AnswerCache(5, 300)
    cache.put("acme", OK, Found((PUBLIC,), (), 60), 0)
    failure = cache.put("acme", OK, Unusable("upstream-failed", "…"), 10)
    assert isinstance(failure.result, Unusable)
    assert isinstance(cache.get("acme", OK, 11).result, Found)


def test_an_entry_can_be_too_old_for_an_asker_though_it_holds():
    cache = AnswerCache(5, 300)
    cache.put("acme", OK, Found((PUBLIC,), (), 60), 0)
    assert cache.get("acme", OK, 6, max_age=5) is None
    assert cache.get("acme", OK, 5, max_age=5) is not None
    assert cache.get("acme", OK, 6) is not None


def test_absent_names_cannot_push_out_addresses():
    cache = AnswerCache(5, 300)
    cache.put("acme", OK, Found((PUBLIC,), (), 300), 0)
    for step in range(NEGATIVE_ENTRIES + 10):
        cache.put("acme", name(f"n{step}.example"), Absent((), 60, exists=False), 1)
    assert cache.get("acme", OK, 2) is not None
    assert len(cache) == NEGATIVE_ENTRIES + 1

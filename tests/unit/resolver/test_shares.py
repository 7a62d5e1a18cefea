"""No tenant pushes out another's entries (F4)."""

from appliance.resolver.shares import Shares


def test_a_full_share_gives_up_its_own_oldest_entry_only():
    shares = Shares(2)
    shares.put("quiet", "k", 0)
    for key in "abc":
        shares.put("noisy", key, 1)
    assert shares.get("quiet", "k") == 0
    assert shares.get("noisy", "a") is None
    assert shares.get("noisy", "b") == shares.get("noisy", "c") == 1
    assert len(shares) == 3


def test_use_keeps_an_entry():
    shares = Shares(2)
    shares.put("t", "a", 1)
    shares.put("t", "b", 2)
    shares.get("t", "a")
    shares.put("t", "c", 3)
    assert shares.get("t", "a") == 1
    assert shares.get("t", "b") is None


def test_what_is_dropped_is_gone_and_an_empty_share_takes_no_room():
    shares = Shares(2)
    shares.put("t", "a", 1)
    shares.drop("t", "a")
    shares.drop("t", "never")
    shares.drop("nobody", "a")
    assert shares.get("t", "a") is None
    assert len(shares) == 0
    assert not shares._shares

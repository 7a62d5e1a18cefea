"""How many connections of the gateway's processes there may be."""

from __future__ import annotations

from appliance.broker.calls.peers import PeerLimits, Peers


def test_a_process_has_its_share_and_all_have_theirs() -> None:
    peers = Peers(PeerLimits(of_process=2, in_all=3))
    assert [peers.enter(name, 7) for name in "abc"] == [True, True, False]
    assert [peers.enter(name, 8) for name in "de"] == [True, False]
    peers.leave("a")
    assert peers.enter("c", 7)
    assert len(peers) == 3


def test_who_was_not_let_in_takes_nothing_away_when_it_goes() -> None:
    peers = Peers(PeerLimits(of_process=1, in_all=1))
    peers.enter("a", 7)
    assert not peers.enter("b", 7)
    peers.leave("b")
    assert not peers.enter("b", 7)
    peers.leave("a")
    peers.leave("a")
    assert len(peers) == 0
    assert not peers._of_process

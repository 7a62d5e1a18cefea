from __future__ import annotations

from twisted.internet.task import Clock

from appliance.gateway.connection import Connection
from appliance.gateway.turns import FIRST_READ, LEAST_READ, MOST_READ, Turns

from .support import Wire, worker

SHARE = 0.01


class Transport:
    """Always readable; one read costs `cost` seconds."""

    def __init__(self, time: Clock, cost: float) -> None:
        self.time, self.cost, self.reads = time, cost, 0
        self.bufferSize = 65536

    def doRead(self) -> str:
        self.reads += 1
        self.time.advance(self.cost)
        return "what the reactor is told"


class Turning(Clock):
    """A reactor that counts its turns."""

    turns = 0


class Reading:
    """A reactor's loop over transports that are all ready, with a clock that only reading moves."""

    def __init__(self) -> None:
        self.time, self.reactor = Clock(), Turning()
        self.turns = Turns(self.reactor, SHARE, self.time.seconds)
        self.all: list[Transport] = []

    def connected(self, tenant: str, cost: float) -> Transport:
        transport = Transport(self.time, cost)
        self.turns.pace(transport, tenant)
        self.all.append(transport)
        return transport

    def turn(self, *ready: Transport) -> float:
        """One turn; how long it took."""
        began = self.time.seconds()
        for transport in ready or self.all:
            transport.doRead()
        self.reactor.advance(0)
        self.reactor.turns += 1
        return self.time.seconds() - began


def test_a_tenant_whose_reads_are_dear_has_one_share_of_a_turn() -> None:
    loop = Reading()
    for _ in range(100):
        loop.connected("flood", 0.004)
    other = loop.connected("works", 0.001)
    for done in range(1, 20):
        assert loop.turn() < SHARE + 0.004 + 0.002
        assert other.reads == done


def test_all_connections_of_a_tenant_come_round_before_one_is_read_again() -> None:
    loop = Reading()
    dear = [loop.connected("flood", 0.004) for _ in range(20)]
    for _ in range(7):  # three are read in a turn
        loop.turn()
    assert [transport.reads for transport in dear] == [1] * 20
    loop.turn()
    assert sorted(transport.reads for transport in dear) == [1] * 17 + [2] * 3


def test_nobody_waits_for_one_that_is_gone() -> None:
    loop = Reading()
    first, gone = loop.connected("flood", SHARE), loop.connected("flood", SHARE)
    loop.turn(first, gone)
    assert (first.reads, gone.reads) == (1, 0)
    for _ in range(2):  # the other's turn has come, and it is not there
        loop.turn(first)
    assert first.reads == 2


def test_cheap_reads_are_all_done_at_once_and_the_reactor_is_told_what_came_of_them() -> None:
    loop = Reading()
    cheap = [loop.connected("acme", 0.0001) for _ in range(50)]
    assert cheap[0].doRead() == "what the reactor is told"
    loop.turn(*cheap[1:])
    assert {transport.reads for transport in cheap} == {1}


def test_what_is_dear_is_read_in_small_pieces_and_what_is_cheap_in_large_ones() -> None:
    loop = Reading()
    transport = loop.connected("acme", SHARE)
    assert transport.bufferSize == FIRST_READ
    for _ in range(5):
        loop.turn()
    assert transport.bufferSize == LEAST_READ
    transport.cost = 0.0
    for _ in range(20):
        loop.turn()
    assert transport.bufferSize == MOST_READ


def test_no_turn_asks_for_a_timed_call() -> None:
    loop = Reading()
    for tenant in ("acme", "beta", "acme"):
        loop.connected(tenant, SHARE)
    for transport in loop.all:
        transport.doRead()
    assert not loop.reactor.getDelayedCalls()


def test_a_transport_is_not_kept_by_its_place_in_line() -> None:
    transport = Transport(Clock(), 0.0)
    Turns(Clock(), SHARE).pace(transport, "acme")
    paced = transport.doRead
    del transport
    assert paced() is None


def test_connections_of_containers_are_read_in_turns() -> None:
    connection = Connection(worker())
    connection.makeConnection(Wire())
    assert connection.transport.bufferSize == FIRST_READ


class TurnByTurn:
    """A reactor to whose turns work is put off: what a turn asks for later is done in the next."""

    def __init__(self) -> None:
        self.asked: list = []
        self.turns = 0

    def callLater(self, delay: float, act, *given) -> None:
        assert delay == 0
        self.asked.append((act, given))

    def turn(self) -> None:
        """What is timed, and then the next turn's events, which are the caller's."""
        asked, self.asked = self.asked, []
        for act, given in asked:
            act(*given)
        self.turns += 1


def test_what_is_put_off_has_its_tenants_share_of_each_turn() -> None:
    time, reactor, did = Clock(), TurnByTurn(), []
    turns = Turns(reactor, SHARE, time.seconds)
    dear, other = Transport(time, 0.001), Transport(time, 0.001)
    turns.pace(dear, "flood")
    turns.pace(other, "works")

    def act() -> None:
        did.append(time.seconds())
        time.advance(0.004)

    for _ in range(10):
        turns.later("flood", act)
    assert did == []
    for turn in range(1, 4):
        reactor.turn()
        assert len(did) == 3 * turn  # the third passes the share
        assert dear.doRead() is None  # there is nothing left of it for reading
        assert other.doRead() == "what the reactor is told"
    reactor.turn()
    assert len(did) == 10
    reactor.turn()
    assert dear.doRead() == "what the reactor is told"
    assert not reactor.asked


def test_what_asks_for_more_while_it_is_done_has_no_second_share() -> None:
    time, reactor, did = Clock(), TurnByTurn(), []
    turns = Turns(reactor, SHARE, time.seconds)
    kept = Transport(time, 0.0)
    turns.pace(kept, "flood")

    def act() -> None:
        did.append(time.seconds())
        time.advance(0.004)
        turns.later("flood", act)

    turns.later("flood", act)
    for turn in range(1, 4):
        reactor.turn()
        assert len(did) == 3 * turn


def test_where_turns_are_not_counted_each_read_has_a_whole_share() -> None:
    turns, transport = Turns(Clock(), SHARE), Transport(Clock(), SHARE)
    turns.pace(transport, "acme")
    assert [transport.doRead() for _ in range(3)] == ["what the reactor is told"] * 3


def test_without_turns_nothing_is_put_off() -> None:
    did: list[int] = []
    Turns(Clock(), SHARE).later("acme", lambda: did.append(1))
    assert did == [1]

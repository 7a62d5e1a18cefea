"""Who must know a container before it starts, and what happens when somebody does not say so."""

import itertools
import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from appliance.peer import Credentials
from netns.feed import RETURN_WITHIN, WITHIN, Attendance, Feed, FeedFactory, FeedSilent, Role

GATEWAY, RESOLVER = 64101, 64102
PIDS = itertools.count(1000)
E1 = {"id": "1" * 64, "tenant": "acme", "address": "172.31.0.2"}
E2 = {"id": "2" * 64, "tenant": "acme", "address": "172.31.0.3"}


class Transport(StringTransport):
    aborting = False

    def abortConnection(self):
        self.aborting = True
        super().abortConnection()


class Subscriber:
    def __init__(self, feed, uid, *, subscribe=True, pid=None):
        pid = pid or next(PIDS)
        factory = FeedFactory(
            feed, {}, frozenset({GATEWAY, RESOLVER}), identify=lambda _: Credentials(pid, uid, uid)
        )
        self.transport = Transport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        if subscribe:
            self.send({"op": "subscribe"})

    def send(self, message):
        self.protocol.dataReceived(json.dumps(message).encode() + b"\n")

    def ack(self, generation):
        self.send({"type": "ack", "generation": generation})

    def heard(self):
        lines = [json.loads(line) for line in self.transport.value().splitlines()]
        self.transport.clear()
        return lines

    def lost(self):
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def feed(clock):
    return Feed(clock, {"gateway worker": Role(GATEWAY), "resolver": Role(RESOLVER)})


def settled(feed, generation):
    outcome = []
    waiting = Deferred.fromCoroutine(feed.settled(generation))
    waiting.addCallbacks(lambda _: outcome.append("settled"), lambda f: outcome.append(f.value))
    return waiting, outcome


def test_a_subscriber_gets_the_snapshot_and_then_every_change(feed):
    feed.publish(added=[E1])
    worker = Subscriber(feed, GATEWAY)
    assert worker.heard() == [{"type": "snapshot", "generation": 2, "endpoints": [E1], "networks": []}]
    feed.publish(added=[E2], removed=[E1["id"]])
    assert worker.heard() == [{"type": "update", "generation": 3, "added": [E2], "removed": [E1["id"]]}]


def test_what_changes_nothing_is_not_told(feed):
    worker = Subscriber(feed, GATEWAY)
    generation = feed.publish(added=[E1])
    worker.heard()
    assert feed.publish(added=[dict(E1)], removed=["9" * 64]) == generation
    assert worker.heard() == []


def test_settled_when_every_subscriber_has_said_so(feed):
    worker, other, resolver = (Subscriber(feed, uid) for uid in (GATEWAY, GATEWAY, RESOLVER))
    generation = feed.publish(added=[E1])
    _, outcome = settled(feed, generation)
    worker.ack(generation)
    resolver.ack(generation)
    assert outcome == []
    other.ack(generation)
    assert outcome == ["settled"]


def test_an_old_acknowledgement_or_one_from_the_future_counts_for_nothing(feed):
    worker, resolver = Subscriber(feed, GATEWAY), Subscriber(feed, RESOLVER)
    generation = feed.publish(added=[E1])
    _, outcome = settled(feed, generation)
    for subscriber in (worker, resolver):
        subscriber.ack(generation - 1)
        subscriber.ack(generation + 1)
        subscriber.ack(True)
        subscriber.ack("9")
    assert outcome == []


@pytest.mark.parametrize(("present", "absent"), [(GATEWAY, "resolver"), (RESOLVER, "gateway worker")])
def test_without_one_of_each_role_no_container_starts(feed, clock, present, absent):
    subscriber = Subscriber(feed, present)
    generation = feed.publish(added=[E1])
    subscriber.ack(generation)
    _, outcome = settled(feed, generation)
    clock.advance(WITHIN)
    assert outcome == [], "it may be starting"
    clock.advance(RETURN_WITHIN - WITHIN)
    assert isinstance(outcome[0], FeedSilent)
    assert f"no {absent} is running" in str(outcome[0])


def test_a_silent_subscriber_is_an_error_and_is_disconnected_to_begin_anew(feed, clock):
    worker, resolver = Subscriber(feed, GATEWAY), Subscriber(feed, RESOLVER)
    generation = feed.publish(added=[E1])
    resolver.ack(generation)
    _, outcome = settled(feed, generation)
    clock.advance(WITHIN)
    assert "1 process(es) do not answer" in str(outcome[0])
    assert worker.transport.disconnecting
    assert not resolver.transport.disconnecting


def test_who_dies_is_not_waited_for_while_another_of_its_role_knows(feed):
    dying, worker, resolver = (Subscriber(feed, uid) for uid in (GATEWAY, GATEWAY, RESOLVER))
    generation = feed.publish(added=[E1])
    _, outcome = settled(feed, generation)
    worker.ack(generation)
    resolver.ack(generation)
    dying.lost()
    assert outcome == ["settled"]
    assert feed.subscribers() == {"gateway worker": 1, "resolver": 1}


def test_who_comes_back_in_time_gets_the_snapshot_and_settles_it(feed):
    resolver = Subscriber(feed, RESOLVER)
    generation = feed.publish(added=[E1])
    resolver.ack(generation)
    _, outcome = settled(feed, generation)
    worker = Subscriber(feed, GATEWAY)
    assert worker.heard()[0]["endpoints"] == [E1]
    worker.ack(generation)
    assert outcome == ["settled"]


def test_a_cancelled_wait_leaves_no_timer(feed, clock):
    waiting, outcome = settled(feed, feed.publish(added=[E1]))
    waiting.cancel()
    assert clock.getDelayedCalls() == []
    assert len(outcome) == 1


@pytest.mark.parametrize("uid", [64103, 1000])
def test_others_may_not_subscribe(feed, uid):
    stranger = Subscriber(feed, uid, subscribe=False)
    stranger.send({"op": "subscribe"})
    answers = stranger.heard()
    assert all(answer["ok"] is False for answer in answers)
    assert stranger.transport.disconnecting
    assert feed.subscribers() == {"gateway worker": 0, "resolver": 0}


def test_an_acknowledgement_of_one_who_did_not_subscribe_is_ignored(feed):
    stranger = Subscriber(feed, GATEWAY, subscribe=False)
    stranger.ack(1)
    assert feed.subscribers()["gateway worker"] == 0


def test_a_snapshot_tells_which_namespace_is_the_gateways(clock):
    feed = Feed(clock, {"gateway worker": Role(GATEWAY)}, namespace=lambda: 4026532008)
    (snapshot,) = Subscriber(feed, GATEWAY).heard()
    assert snapshot["namespace"] == 4026532008


def test_a20_who_comes_and_goes_is_on_record_once(clock):
    seen = []
    feed = Feed(clock, {"gateway worker": Role(GATEWAY), "resolver": Role(RESOLVER)}, attended=seen.append)
    worker, resolver = Subscriber(feed, GATEWAY, pid=1), Subscriber(feed, RESOLVER, pid=2)
    worker.send({"op": "subscribe"})
    worker.lost()
    assert seen == [
        Attendance("gateway worker", 1, present=True),
        Attendance("resolver", 2, present=True),
        Attendance("gateway worker", 1, present=False),
    ]
    record = seen[-1].record()
    assert (record.event, record.subject, record.detail) == ("process-left", "gateway worker", "pid 1")
    assert seen[0].record().event == "process-joined"
    resolver.lost()


def test_every_worker_has_to_know_also_one_that_is_being_started_anew(clock):
    """Else its containers' packets could meet the table of before, with another holder of the address (A11)."""
    feed = Feed(clock, {"gateway worker": Role(GATEWAY, 2), "resolver": Role(RESOLVER)})
    worker, resolver = Subscriber(feed, GATEWAY), Subscriber(feed, RESOLVER)
    generation = feed.publish(added=[E1])
    worker.ack(generation)
    resolver.ack(generation)
    _, outcome = settled(feed, generation)
    clock.advance(WITHIN + 1)
    assert outcome == []
    Subscriber(feed, GATEWAY).ack(generation)
    assert outcome == ["settled"]
    assert clock.getDelayedCalls() == []


def test_a_worker_that_stays_away_is_named(clock):
    feed = Feed(clock, {"gateway worker": Role(GATEWAY, 2)})
    generation = feed.publish(added=[E1])
    Subscriber(feed, GATEWAY).ack(generation)
    _, outcome = settled(feed, generation)
    clock.pump([WITHIN, RETURN_WITHIN - WITHIN])
    assert "1 of 2 gateway worker(s) is running" in str(outcome[0])


def test_one_process_subscribes_once(feed):
    """Two connections of one worker do not pass for two workers, and the older one holds up nobody."""
    older = Subscriber(feed, GATEWAY, pid=7)
    Subscriber(feed, GATEWAY, pid=7)
    assert feed.subscribers()["gateway worker"] == 1
    assert older.transport.disconnecting


def test_f4_a_process_that_is_not_ours_cannot_hold_up_containers(clock):
    """A uid is not enough: whoever runs under it could subscribe and never answer."""
    feed = Feed(clock, {"gateway worker": Role(GATEWAY)}, known=lambda pid, uid: (pid, uid) == (7, GATEWAY))
    stranger, worker = Subscriber(feed, GATEWAY, pid=8), Subscriber(feed, GATEWAY, pid=7)
    (answer,) = stranger.heard()
    assert (answer["ok"], answer["error"]) == (False, "not-permitted")
    generation = feed.publish(added=[E1])
    _, outcome = settled(feed, generation)
    worker.ack(generation)
    assert outcome == ["settled"]


def test_a_silent_subscriber_is_forgotten_at_once_even_if_it_reads_nothing(feed, clock):
    worker, resolver = Subscriber(feed, GATEWAY), Subscriber(feed, RESOLVER)
    generation = feed.publish(added=[E1])
    resolver.ack(generation)
    settled(feed, generation)
    clock.advance(WITHIN)
    assert feed.subscribers() == {"gateway worker": 0, "resolver": 1}
    assert worker.transport.aborting
    worker.lost()
    assert feed.subscribers() == {"gateway worker": 0, "resolver": 1}


def test_networks_are_told_to_all_and_to_who_comes_later(feed):
    worker = Subscriber(feed, GATEWAY)
    worker.heard()
    networks = [{"tenant": "acme", "pool": "172.31.0.0/24"}]
    feed.tell_networks(networks)
    feed.tell_networks(list(networks))
    (update,) = worker.heard()
    assert update == {"type": "update", "generation": 2, "added": [], "removed": [], "networks": networks}
    assert Subscriber(feed, GATEWAY).heard()[0]["networks"] == networks


def test_no_container_waits_for_who_may_know_and_need_not(clock):
    feed = Feed(clock, {"resolver": Role(RESOLVER), "squid": Role(GATEWAY, 0)})
    resolver, squid = Subscriber(feed, RESOLVER), Subscriber(feed, GATEWAY)
    assert feed.subscribers() == {"resolver": 1, "squid": 1}
    generation = feed.publish(added=[E1])
    _, outcome = settled(feed, generation)
    resolver.ack(generation)
    assert outcome == ["settled"]
    assert not squid.transport.disconnecting

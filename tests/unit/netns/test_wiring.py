"""A container's way on and off the network, with a recorded kernel."""

import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from appliance.peer import Credentials
from netns.feed import RETURN_WITHIN, WITHIN, Feed, Role
from netns.kept_networks import FILE, NetworksFile
from netns.kernel import Converged, Live
from netns.plumbing import Attachment, Network, PlumbingError
from netns.wiring import KernelPlumbing, entry

NETWORK = Network("a" * 64, "acme", IPv4Network("172.31.0.0/24"), IPv4Address("172.31.0.1"))
ATTACHMENT = Attachment("b" * 64, NETWORK.id, "acme", IPv4Address("172.31.0.2"), "02:42:ac:1f:00:02")
LIVE = Live(ATTACHMENT, "t-bbbbbbbbbbbb", 7)


class RecordedKernel:
    def __init__(self):
        self.networks = (NETWORK,)
        self.links = ()
        self.done = []
        self.vanished = ()

    def start(self):
        self.links = (LIVE,)
        return Converged((), ())

    def add_network(self, network):
        if network.tenant == "other":
            raise PlumbingError("overlaps")
        self.networks = (*self.networks, network)

    def remove_network(self, identity):
        self.networks = tuple(n for n in self.networks if n.id != identity)

    def converge(self):
        return Converged((), self.vanished)

    def attach(self, attachment):
        self.done.append(("attach", attachment.endpoint))
        self.links = (LIVE,)
        return LIVE

    def detach(self, endpoint):
        self.done.append(("detach", endpoint))
        self.links = ()
        return True

    def describe(self, endpoint, container, name, run):
        return None


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kernel():
    return RecordedKernel()


@pytest.fixture
def feed(clock):
    return Feed(clock, {})  # nobody needs to know


@pytest.fixture
def strict(clock):
    return Feed(clock, {"resolver": Role(64102)})


def plumbing(kernel, feed, run=maybeDeferred, doubts=None, kept=None):
    return KernelPlumbing(kernel, feed, run, [].append if doubts is None else doubts.append, kept)


def outcome(coroutine):
    results = []
    waiting = Deferred.fromCoroutine(coroutine)
    waiting.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return waiting, results


def test_join_gets_the_containers_end_and_the_gateway(kernel, feed):
    _, (attached,) = outcome(plumbing(kernel, feed).attach(ATTACHMENT))
    assert (attached.interface, attached.prefix) == ("c-bbbbbbbbbbbb", "eth")
    assert attached.gateway == NETWORK.gateway


def test_a_container_that_not_everybody_knows_gets_no_network(kernel, strict, clock):
    _, results = outcome(plumbing(kernel, strict).attach(ATTACHMENT))
    assert results == []
    clock.pump([WITHIN, RETURN_WITHIN])
    (error,) = results
    assert isinstance(error, PlumbingError)
    assert "no resolver is running" in str(error)
    assert kernel.done == [("attach", ATTACHMENT.endpoint), ("detach", ATTACHMENT.endpoint)]
    assert strict.publish(removed=[ATTACHMENT.endpoint]) == strict.generation  # it is out of the feed already


def test_a_join_that_is_given_up_is_rolled_back(kernel, strict):
    waiting, results = outcome(plumbing(kernel, strict).attach(ATTACHMENT))
    waiting.cancel()
    assert len(results) == 1
    assert kernel.done[-1] == ("detach", ATTACHMENT.endpoint)


def test_leave_does_not_wait_for_who_is_absent(kernel, strict):
    target = plumbing(kernel, strict)
    outcome(target.start())
    _, results = outcome(target.detach(ATTACHMENT.endpoint))
    assert results == [None], "nobody is there to know"
    assert target.attachments() == ()


class Subscriber:
    """One that is told and has not said yet that it knows."""

    credentials = Credentials(1000, 64102, 64102)

    def send(self, message):
        """It heard."""

    def on_close(self, call):
        """It stays."""


class Thread:
    """The kernel's thread: does what it was given when it is let, in order."""

    def __init__(self):
        self.given = []

    def run(self, call, *arguments):
        waiting = Deferred()
        self.given.append(lambda: maybeDeferred(call, *arguments).chainDeferred(waiting))
        return waiting

    def work(self):
        while self.given:
            self.given.pop(0)()


def test_who_departs_is_forgotten_before_its_link_goes_and_that_before_another_is_made(kernel, feed):
    thread = Thread()
    target = plumbing(kernel, feed, thread.run)
    outcome(target.start())
    thread.work()
    _, departed = outcome(target.depart(ATTACHMENT.endpoint))
    assert departed == [None]
    assert kernel.done == []
    assert feed.publish(removed=[ATTACHMENT.endpoint]) == feed.generation, "it is out of the feed already"
    _, attached = outcome(target.attach(ATTACHMENT))
    assert attached == []
    thread.work()
    assert kernel.done == [("detach", ATTACHMENT.endpoint), ("attach", ATTACHMENT.endpoint)]
    assert len(attached) == 1


def test_a_container_that_is_described_while_it_departs_stays_forgotten(kernel, feed):
    thread = Thread()
    target = plumbing(kernel, feed, thread.run)
    outcome(target.start())
    thread.work()
    kernel.describe = lambda *_: LIVE
    _, described = outcome(target.describe(ATTACHMENT.endpoint, container="c", name="n", run=""))
    outcome(target.depart(ATTACHMENT.endpoint))
    thread.work()
    assert described == [None]
    assert feed.publish(removed=[ATTACHMENT.endpoint]) == feed.generation


def test_a_link_of_one_that_departed_that_stays_asks_for_a_comparison_and_is_no_error_of_docker(feed):
    class Stuck(RecordedKernel):
        def detach(self, endpoint):
            raise OSError("stuck")

        def describe(self, endpoint, container, name, run):
            return LIVE

    thread, doubts = Thread(), []
    target = plumbing(Stuck(), feed, thread.run, doubts)
    outcome(target.describe(ATTACHMENT.endpoint, container="c", name="n", run=""))
    _, departed = outcome(target.depart(ATTACHMENT.endpoint))
    assert departed == [None]
    thread.work()
    assert [str(doubt) for doubt in doubts] == ["the link of endpoint bbbbbbbbbbbb could not be taken away"]
    assert feed.publish(removed=[ATTACHMENT.endpoint]) == feed.generation, "it stays forgotten"


def test_who_departs_is_answered_when_all_that_are_there_have_let_it_go(kernel, strict):
    target = plumbing(kernel, strict)
    outcome(target.start())
    peer = Subscriber()
    strict.subscribe({}, peer)
    _, departed = outcome(target.depart(ATTACHMENT.endpoint))
    assert departed == []
    strict.acknowledged(peer, strict.generation)
    assert departed == [None]


def test_after_a_restart_the_feed_tells_what_the_kernel_kept(kernel, feed):
    outcome(plumbing(kernel, feed).start())
    assert feed.publish(added=[entry(LIVE)]) == feed.generation == 3


def test_only_what_was_there_before_and_docker_does_not_know_is_stale(kernel, feed):
    target = plumbing(kernel, feed)
    outcome(target.start())
    endpoint = frozenset({ATTACHMENT.endpoint})
    assert outcome(target.remove_stale(frozenset(), frozenset()))[1] == [()]
    assert outcome(target.remove_stale(endpoint, endpoint))[1] == [()]
    assert outcome(target.remove_stale(endpoint, frozenset()))[1] == [(ATTACHMENT.endpoint,)]
    assert kernel.done == [("detach", ATTACHMENT.endpoint)]


def test_a_container_found_gone_leaves_the_feed(kernel, feed):
    target = plumbing(kernel, feed)
    outcome(target.start())
    kernel.vanished = (ATTACHMENT.endpoint,)
    before = feed.generation
    outcome(target.reconcile())
    assert feed.generation == before + 1


def test_the_feeds_entry_is_what_the_other_end_parses():
    from appliance.endpoints import Endpoint

    parsed = Endpoint.parse(entry(LIVE))
    assert (parsed.id, parsed.address, parsed.ifindex) == (ATTACHMENT.endpoint, ATTACHMENT.address, 7)


def test_networks_and_steering_go_through(kernel, feed):
    kernel.steer = kernel.done.append
    target = plumbing(kernel, feed)
    outcome(target.start())
    outcome(target.steer("steering"))
    assert kernel.done == ["steering"]
    assert feed._networks == [{"tenant": "acme", "pool": "172.31.0.0/24"}]


def test_a_label_of_any_length_leaves_the_feed_readable():
    """An image's own label `egress.run`, or a container's name: nobody may end the feed of all with it."""
    from appliance.endpoints import MAX_FIELD, Endpoint

    long = "x" * 5000
    told = replace(LIVE, attachment=replace(ATTACHMENT, container=long, name=long, run=long))
    parsed = Endpoint.parse(entry(told))
    assert (parsed.container, parsed.name, parsed.run) == (long[:MAX_FIELD],) * 3


SECOND = Network("c" * 64, "acme", IPv4Network("172.31.1.0/24"), IPv4Address("172.31.1.1"))


def test_networks_come_back_after_a_restart_of_the_host_without_docker(kernel, feed, tmp_path):
    """dockerd starts containers before it answers a question."""
    file = NetworksFile(tmp_path, os.getuid())
    before = plumbing(kernel, feed, kept=file)
    outcome(before.start())
    outcome(before.add_network(SECOND))
    fresh = RecordedKernel()
    fresh.networks = ()
    after = plumbing(fresh, feed, kept=NetworksFile(tmp_path, os.getuid()))
    outcome(after.start())
    assert after.networks() == (NETWORK, SECOND)
    outcome(after.remove_network(NETWORK.id))
    assert file.read() == (SECOND,)


def test_a_netd_that_ended_half_way_through_them_goes_on(kernel, feed, tmp_path):
    file = NetworksFile(tmp_path, os.getuid())
    file.keep([NETWORK, SECOND])
    assert kernel.networks == (NETWORK,)
    target = plumbing(kernel, feed, kept=file)
    outcome(target.start())
    assert target.networks() == (NETWORK, SECOND)
    assert file.read() == (NETWORK, SECOND)


def test_a_network_that_fits_no_more_and_a_broken_file_keep_nobody_from_starting(kernel, feed, tmp_path):
    file = NetworksFile(tmp_path, os.getuid())
    file.keep([replace(SECOND, tenant="other"), NETWORK])
    kernel.networks = ()
    target = plumbing(kernel, feed, kept=file)
    assert isinstance(outcome(target.start())[1][0], Converged)
    assert target.networks() == (NETWORK,)
    (tmp_path / FILE).write_text("broken")
    kernel.networks = ()
    assert isinstance(outcome(target.start())[1][0], Converged)
    assert target.networks() == ()


def test_a_file_that_cannot_be_written_keeps_no_network_out(kernel, feed, tmp_path):
    target = plumbing(kernel, feed, kept=NetworksFile(tmp_path / "nowhere", os.getuid()))
    outcome(target.start())
    assert outcome(target.add_network(SECOND))[1] == [None]
    assert SECOND in target.networks()

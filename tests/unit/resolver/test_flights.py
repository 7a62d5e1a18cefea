"""One question upstream for all who want the same at the same time."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from appliance.resolver.flights import Flights


class Work:
    def __init__(self):
        self.started = []

    def __call__(self):
        deferred = Deferred()
        self.started.append(deferred)

        async def wait():
            return await deferred

        return wait()


def join(flights, work, key=("acme", "ok.example")):
    results = []
    deferred = Deferred.fromCoroutine(flights.join(key, work))
    deferred.addBoth(results.append)
    return deferred, results


def test_all_who_wait_share_one_piece_of_work_and_only_one_leads():
    flights, work = Flights(), Work()
    _, first = join(flights, work)
    _, second = join(flights, work)
    assert len(work.started) == 1
    assert flights.under_way("acme") == len(flights) == 1
    work.started[0].callback("done")
    assert first == [("done", True)]
    assert second == [("done", False)]
    assert len(flights) == 0


def test_tenants_do_not_share():
    flights, work = Flights(), Work()
    join(flights, work)
    join(flights, work, ("other", "ok.example"))
    assert len(work.started) == 2
    assert flights.under_way("acme") == 1


def test_one_who_gives_up_does_not_stop_the_work_of_the_others():
    flights, work = Flights(), Work()
    leader, first = join(flights, work)
    _, second = join(flights, work)
    leader.cancel()
    assert first[0].check(CancelledError)
    work.started[0].callback("done")
    assert second == [("done", False)]


def test_a_failure_reaches_all_who_wait():
    flights, work = Flights(), Work()
    _, first = join(flights, work)
    _, second = join(flights, work)
    work.started[0].errback(RuntimeError("no"))
    assert first[0].check(RuntimeError)
    assert second[0].check(RuntimeError)
    assert len(flights) == 0


def test_a_failure_that_nobody_waits_for_is_logged():
    flights, work = Flights(), Work()
    leader, _ = join(flights, work)
    leader.cancel()
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        work.started[0].errback(RuntimeError("no"))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any("log_failure" in event for event in events)


def test_one_who_is_cancelled_by_what_another_does_is_left_alone():
    flights, work = Flights(), Work()
    first, _ = join(flights, work)
    second, seen = join(flights, work)
    first.addBoth(lambda _: second.cancel())
    work.started[0].callback("done")
    assert seen[0].check(CancelledError)


def test_work_that_needs_no_waiting_is_fine():
    flights = Flights()

    async def at_once():
        return 3

    _, results = join(flights, at_once)
    assert results == [(3, True)]

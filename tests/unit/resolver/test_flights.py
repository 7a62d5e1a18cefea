"""One question upstream for all who want the same at the same time."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from appliance.resolver.flights import RESUMED_PER_TURN, Flights


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
    flights, work = Flights(Clock()), Work()
    _, first = join(flights, work)
    _, second = join(flights, work)
    assert len(work.started) == 1
    assert flights.under_way("acme") == len(flights) == 1
    work.started[0].callback("done")
    assert first == [("done", True)]
    assert second == [("done", False)]
    assert len(flights) == 0


def test_tenants_do_not_share():
    flights, work = Flights(Clock()), Work()
    join(flights, work)
    join(flights, work, ("other", "ok.example"))
    assert len(work.started) == 2
    assert flights.under_way("acme") == 1


def test_one_who_gives_up_does_not_stop_the_work_of_the_others():
    flights, work = Flights(Clock()), Work()
    leader, first = join(flights, work)
    _, second = join(flights, work)
    leader.cancel()
    assert first[0].check(CancelledError)
    work.started[0].callback("done")
    assert second == [("done", False)]


def test_a_failure_reaches_all_who_wait():
    flights, work = Flights(Clock()), Work()
    _, first = join(flights, work)
    _, second = join(flights, work)
    work.started[0].errback(RuntimeError("no"))
    assert first[0].check(RuntimeError)
    assert second[0].check(RuntimeError)
    assert len(flights) == 0


def test_a_failure_that_nobody_waits_for_is_logged():
    flights, work = Flights(Clock()), Work()
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
    flights, work = Flights(Clock()), Work()
    first, _ = join(flights, work)
    second, seen = join(flights, work)
    first.addBoth(lambda _: second.cancel())
    work.started[0].callback("done")
    assert seen[0].check(CancelledError)


def test_work_that_needs_no_waiting_is_fine():
    flights = Flights(Clock())

    async def at_once():
        return 3

    _, results = join(flights, at_once)
    assert results == [(3, True)]


class Turning(Clock):
    """As in a reactor, what is called later during a turn waits for the next one."""

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call.func(*call.args)


def told(results):
    return sum(1 for one in results if one)


def test_of_many_who_wait_a_few_go_on_in_a_turn_the_first_at_once():
    clock = Turning()
    flights, work = Flights(clock), Work()
    results = [join(flights, work)[1] for _ in range(500)]
    work.started[0].callback("done")
    for turn in range(1, 63):
        assert told(results) == turn * RESUMED_PER_TURN
        assert all(results[: told(results)]), "in the order in which they came"
        clock.turn()
    assert results == [[("done", True)], *[[("done", False)]] * 499]
    clock.turn()
    clock.turn()
    assert clock.getDelayedCalls() == []


def test_who_waits_later_is_told_in_the_same_way():
    clock = Turning()
    flights, work = Flights(clock), Work()
    for answered in range(3):
        results = [join(flights, work)[1] for _ in range(RESUMED_PER_TURN + 1)]
        work.started[answered].callback("done")
        assert told(results) == RESUMED_PER_TURN
        while clock.calls:
            clock.turn()
        assert told(results) == RESUMED_PER_TURN + 1


def test_a_failure_too_reaches_a_few_in_a_turn():
    clock = Turning()
    flights, work = Flights(clock), Work()
    results = [join(flights, work)[1] for _ in range(RESUMED_PER_TURN + 1)]
    work.started[0].errback(RuntimeError("no"))
    assert told(results) == RESUMED_PER_TURN
    clock.turn()
    assert all(one[0].check(RuntimeError) for one in results)


def test_answers_that_come_in_one_turn_share_it_but_not_with_another_tenant():
    clock = Turning()
    flights, work = Flights(clock), Work()
    mine = [join(flights, work, ("acme", number))[1] for number in range(20)]
    _, theirs = join(flights, work, ("other", "ok.example"))
    for deferred in work.started:
        deferred.callback("done")
    assert (told(mine), told([theirs])) == (RESUMED_PER_TURN, 1)
    clock.turn()
    assert told(mine) == 2 * RESUMED_PER_TURN
    clock.turn()
    assert told(mine) == 20


def test_one_who_gives_up_before_its_turn_is_not_told_and_takes_nobodys_place():
    clock = Turning()
    flights, work = Flights(clock), Work()
    waiters = [join(flights, work) for _ in range(3 * RESUMED_PER_TURN)]
    work.started[0].callback("done")
    for deferred, _ in waiters[RESUMED_PER_TURN : 2 * RESUMED_PER_TURN]:
        deferred.cancel()
    clock.turn()
    first, given_up, last = (
        [results for _, results in waiters[at : at + RESUMED_PER_TURN]]
        for at in range(0, len(waiters), RESUMED_PER_TURN)
    )
    assert all(len(results) == 1 and results[0].check(CancelledError) for results in given_up)
    assert (told(first), told(last)) == (RESUMED_PER_TURN, RESUMED_PER_TURN)
    assert all(len(results) == 1 for results in last)


def test_who_asks_again_while_others_are_yet_to_be_told_begins_anew():
    clock = Turning()
    flights, work = Flights(clock), Work()
    for _ in range(RESUMED_PER_TURN + 1):
        join(flights, work)
    work.started[0].callback("old")
    _, results = join(flights, work)
    work.started[1].callback("new")
    clock.turn()
    assert results == [("new", True)]

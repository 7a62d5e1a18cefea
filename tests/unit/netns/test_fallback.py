"""The fallback's keeper with recorded steering: what it does of itself, and what an operator tells it."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.control import ControlError
from netns.fallback import DRAIN, RETRY, STARTING, Fallback
from netns.fallback_mode import NOTHING_SAID, Kept
from netns.plumbing import PlumbingError
from netns.shares import Condition, Mode, Steering

NAMES = ("gateway-0", "gateway-1")
BOTH, NONE = frozenset({0, 1}), frozenset()


class Heart:
    """A pulse that is told how it beats."""

    def __init__(self, told):
        self.told = told
        self.condition = Condition.AWAY
        self.silent = False
        self.running = False

    def start(self):
        self.running = True

    def stop(self):
        self.running = False

    def becomes(self, condition):
        self.condition = condition
        self.told()


class Rig:
    def __init__(self, kept=NOTHING_SAID):
        self.kept, self.unkept = [], None
        self.clock = Clock()
        self.hearts = []
        self.steered = []
        self.records = []
        self.failure = None
        self.slow = None
        self.fallback = Fallback(
            self.clock, dict.fromkeys(NAMES, self._watched), self._watched, self._steer, self.records.append,
            kept=kept, keep=self._keep,
        )  # fmt: skip
        self.workers, self.squid = self.hearts[:2], self.hearts[2]

    def _watched(self, told):
        self.hearts.append(Heart(told))
        return self.hearts[-1]

    def _keep(self, mode):
        if self.unkept is not None:
            raise self.unkept
        self.kept.append(mode)

    async def _steer(self, steering):
        if self.slow is not None:
            await self.slow
        if self.failure:
            raise PlumbingError(self.failure)
        self.steered.append(steering)

    def all_ready(self):
        self.fallback.start()
        for heart in self.hearts:
            heart.becomes(Condition.READY)
        return self

    def ask(self, **message):
        return result(self.fallback.operations()["fallback"].answer(message, None))


def result(coroutine):
    outcome = []
    Deferred.fromCoroutine(coroutine).addCallbacks(outcome.append, lambda f: outcome.append(f.value))
    (value,) = outcome
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture
def rig():
    return Rig().all_ready()


def events(rig):
    return [(r.event, r.subject, r.reason) for r in rig.records]


def test_healthy_nothing_is_steered(rig):
    rig.clock.advance(STARTING * 2)
    assert rig.steered == []
    assert rig.fallback.status()["fallback"] == "stands by"


def test_g8_a_share_goes_to_squid_at_once_comes_back_drains_and_is_on_record(rig):
    rig.workers[1].becomes(Condition.AWAY)
    assert rig.steered == [Steering(frozenset({1}))]
    assert rig.fallback.status()["fallback"] == "serves gateway-1"
    rig.workers[0].becomes(Condition.AWAY)
    assert rig.steered[-1] == Steering(BOTH)
    rig.workers[0].becomes(Condition.ALIVE)
    assert rig.steered[-1] == Steering(BOTH), "it starts"
    rig.workers[0].becomes(Condition.READY)
    rig.workers[1].becomes(Condition.READY)
    assert rig.steered[-1] == Steering(NONE, BOTH)
    rig.clock.advance(DRAIN)
    assert rig.steered[-1] == Steering()
    assert events(rig) == [
        ("fallback-began", "gateway-1", "worker-gone"),
        ("fallback-began", "gateway-0", "worker-gone"),
        ("fallback-ended", "gateway-0", "worker-back"),
        ("fallback-ended", "gateway-1", "worker-back"),
    ]
    flips = rig.fallback.status()["recent_flips"]
    assert [flip["flip"].partition(":")[0] for flip in flips][-1] == "gateway-1 to the fallback"


def test_a_drain_that_is_prolonged_ends_once(rig):
    for heart in rig.workers:
        heart.becomes(Condition.AWAY)
    rig.workers[0].becomes(Condition.READY)
    rig.clock.advance(DRAIN / 2)
    rig.workers[1].becomes(Condition.READY)
    rig.clock.advance(DRAIN / 2)
    assert rig.steered[-1].draining == BOTH
    rig.clock.advance(DRAIN / 2)
    assert rig.steered[-1] == Steering()


def test_a_worker_that_hangs_is_told_from_one_that_died(rig):
    rig.workers[0].silent = True
    rig.workers[0].becomes(Condition.AWAY)
    assert events(rig) == [("fallback-began", "gateway-0", "worker-silent")]


def test_squid_that_would_not_serve_gets_no_share_until_it_would(rig):
    rig.squid.becomes(Condition.ALIVE)
    for heart in rig.workers:
        heart.becomes(Condition.AWAY)
    assert rig.steered == []
    assert rig.fallback.status()["fallback"] == "stands by, squid is not ready"
    rig.squid.becomes(Condition.READY)
    assert rig.steered == [Steering(BOTH)]
    rig.squid.becomes(Condition.AWAY)
    assert rig.steered == [Steering(BOTH)], "nobody else is there"


def test_workers_that_are_being_started_are_waited_for():
    rig = Rig()
    rig.fallback.start()
    rig.squid.becomes(Condition.READY)
    rig.clock.advance(STARTING - 0.1)
    assert rig.steered == []
    rig.clock.advance(0.1)
    assert rig.steered == [Steering(BOTH)]


def test_what_the_kernel_refused_is_tried_again(rig):
    rig.failure = "cannot replace nft table"
    rig.workers[0].becomes(Condition.AWAY)
    assert rig.steered == []
    assert rig.records == []
    rig.failure = None
    rig.clock.advance(RETRY)
    assert rig.steered == [Steering(frozenset({0}))]


def test_what_changes_while_the_kernel_is_slow_is_done_after_it(rig):
    rig.slow = Deferred()
    rig.workers[0].becomes(Condition.AWAY)
    rig.workers[1].becomes(Condition.AWAY)
    slow, rig.slow = rig.slow, None
    slow.callback(None)
    assert rig.steered == [Steering(frozenset({0})), Steering(BOTH)]


def test_an_operators_word_holds_whatever_the_health(rig):
    assert rig.ask(mode="on")["fallback"] == "serves gateway-0, gateway-1, set on by an operator"
    rig.workers[0].becomes(Condition.AWAY)
    rig.workers[0].becomes(Condition.READY)
    assert rig.steered == [Steering(BOTH)]
    assert rig.ask(mode="auto")["fallback"] == "stands by"
    rig.ask(mode="off")
    assert rig.steered[-1].ready is False, "what finds no worker finds nobody"
    rig.workers[0].becomes(Condition.AWAY)
    assert rig.fallback.status()["fallback_serves"] == []
    assert events(rig) == [
        ("fallback-set", "on", "operator"),
        ("fallback-began", "gateway-0, gateway-1", "operator"),
        ("fallback-set", "auto", "operator"),
        ("fallback-ended", "gateway-0, gateway-1", "operator"),
        ("fallback-set", "off", "operator"),
    ]


def test_what_an_operator_says_is_kept_before_it_is_done(rig):
    rig.ask(mode="on")
    rig.ask(mode="auto")
    assert rig.kept == [Mode.ON, Mode.AUTO]
    rig.unkept = OSError(28, "No space left on device")
    with pytest.raises(ControlError, match=r"cannot be kept.*No space left"):
        rig.ask(mode="off")
    assert rig.fallback.status()["fallback_mode"] == "auto"
    assert events(rig)[-1] == ("fallback-ended", "gateway-0, gateway-1", "operator")


def test_what_an_operator_had_said_holds_from_the_start():
    off = Rig(Kept(Mode.OFF)).all_ready()
    off.workers[0].becomes(Condition.AWAY)
    off.clock.advance(STARTING * 2)
    assert off.steered == [], "it is in the kernel already"
    assert off.fallback.status()["fallback"] == "stands by, set off by an operator"
    assert events(off) == [("fallback-set", "off", "kept")]
    on = Rig(Kept(Mode.ON)).all_ready()
    assert on.steered == []
    assert on.fallback.status()["fallback_serves"] == list(NAMES)
    assert on.ask(mode="auto")["fallback"] == "stands by"
    assert on.steered[-1] == Steering(NONE, BOTH)
    assert events(on)[0] == ("fallback-set", "on", "kept")


def test_a_word_that_nobody_can_read_any_more_is_off_on_record_and_said(rig):
    broken = Rig(Kept(Mode.OFF, "file: holds no mode")).all_ready()
    broken.workers[0].becomes(Condition.AWAY)
    assert broken.steered == []
    (record,) = broken.records
    assert (record.event, record.subject, record.reason) == ("fallback-set", "off", "mode-unreadable")
    assert record.detail == "file: holds no mode"
    assert "set off, for nobody knows" in broken.fallback.status()["fallback"]
    assert broken.ask(mode="auto")["fallback"] == "serves gateway-0"


@pytest.mark.parametrize("mode", [None, "", "ON", 1, ["on"]])
def test_another_word_is_none(rig, mode):
    with pytest.raises(ControlError, match="on, off or auto"):
        rig.ask(mode=mode)
    assert rig.records == []


def test_an_operator_hears_what_could_not_be_done(rig):
    rig.failure = "nft refused"
    with pytest.raises(ControlError, match="nft refused"):
        rig.ask(mode="on")


def test_only_root_may_tell(rig):
    assert all(not operation.uids for operation in rig.fallback.operations().values())


def test_stopped_it_does_nothing(rig):
    rig.fallback.stop()
    assert not any(heart.running for heart in rig.hearts)
    rig.workers[0].becomes(Condition.AWAY)
    rig.clock.advance(STARTING)
    assert rig.steered == []
    assert rig.clock.getDelayedCalls() == []

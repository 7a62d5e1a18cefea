"""netd's life with a recorded plumbing: it keeps comparing, and says what it could not do."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.control import ControlError
from netns.daemon import EVERY, Daemon
from netns.feed import Feed, Role
from netns.kernel import Converged
from netns.notices import Notice
from netns.pace import SETTLE
from netns.plumbing import PlumbingError
from netns.state import Side
from netns.steps import SetUp

STEP = SetUp(Side.GATEWAY, "uplink")


class RecordedPlumbing:
    def __init__(self):
        self.done = []
        self.failure = None
        self.steps = ()
        self.drifted = ()

    async def start(self):
        self.done.append("start")
        return self._outcome()

    async def reconcile(self):
        self.done.append("reconcile")
        return self._outcome()

    async def drift(self):
        self.done.append("drift")
        self._outcome()
        return self.drifted

    async def set_exceptions(self, exceptions):
        self.done.append(("exceptions", exceptions))
        return self._outcome()

    def _outcome(self):
        if self.failure:
            raise PlumbingError(self.failure)
        return Converged(self.steps, ())

    def networks(self):
        return ()

    def attachments(self):
        return ()


class RecordedWatch:
    def __init__(self):
        self.heard = None
        self.followed = 0
        self.failure = None

    def start(self, heard):
        if self.failure:
            raise self.failure
        self.heard = heard

    def follow(self):
        self.followed += 1

    def stop(self):
        self.heard = None


class Rig:
    def __init__(self):
        self.clock = Clock()
        self.plumbing = RecordedPlumbing()
        self.exceptions = [()]
        self.torn_down = 0
        self.watch = RecordedWatch()
        self.repairs = []
        self.daemon = Daemon(
            self.clock,
            self.plumbing,
            Feed(self.clock, {"resolver": Role(1)}),
            self._exceptions,
            self._tear_down,
            watch=self.watch,
            repaired=self.repairs.append,
        )

    async def _exceptions(self):
        found = self.exceptions[-1]
        if isinstance(found, Exception):
            raise found
        return found

    async def _tear_down(self):
        self.torn_down += 1

    async def _counters(self):
        return {"spoofed": (2, 80)}

    def ask(self, name):
        answer = self.daemon.operations(self._counters)[name].answer({}, None)
        return answer if isinstance(answer, dict) else result(answer)


def result(coroutine):
    outcome = []
    Deferred.fromCoroutine(coroutine).addCallbacks(
        outcome.append, lambda failure: outcome.append(failure.value)
    )
    (value,) = outcome
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture
def rig():
    return Rig()


def test_not_ready_before_everything_stands(rig):
    assert rig.ask("status")["ready"] is False
    result(rig.daemon.start())
    assert rig.plumbing.done == ["start", ("exceptions", ())]
    assert rig.ask("status")["ready"] is True


def test_a_start_that_fails_is_an_error(rig):
    rig.plumbing.failure = "cannot create network namespace"
    with pytest.raises(PlumbingError):
        result(rig.daemon.start())
    assert rig.ask("status")["ready"] is False


def test_it_compares_again_and_again_and_counts_repairs(rig):
    result(rig.daemon.start())
    rig.plumbing.steps = (STEP,)
    rig.clock.pump([EVERY, EVERY])
    compared = rig.plumbing.done.count("reconcile")
    assert compared >= 2
    assert rig.ask("status")["repairs"] == compared
    rig.daemon.stop()
    rig.clock.advance(EVERY * 3)
    assert rig.plumbing.done.count("reconcile") == compared


def started(rig):
    """Started, and through the comparison with what happened before it listened."""
    result(rig.daemon.start())
    rig.clock.advance(SETTLE)
    rig.plumbing.done.clear()


def test_a20_what_is_heard_is_compared_long_before_the_next_regular_time(rig):
    started(rig)
    rig.plumbing.steps = (STEP,)
    rig.watch.heard(Notice("table removed in table egress", "nft (pid 7)"))
    rig.clock.advance(0.05)
    assert rig.plumbing.done == ["reconcile"]
    (repair,) = rig.repairs
    assert repair.heard == ("table removed in table egress, by nft (pid 7)",)
    assert repair.after <= 0.05
    status = rig.ask("status")
    assert status["last_repair"].endswith(str(STEP))
    (told,) = status["recent_repairs"]
    assert "nft (pid 7)" in told["repair"]
    assert told["steps"] == 1


def test_the_watch_follows_a_namespace_that_was_made_anew(rig):
    started(rig)
    before = rig.watch.followed
    rig.clock.advance(EVERY)
    assert rig.watch.followed == before + 1


def test_what_fails_after_a_notice_is_tried_again_within_a_second(rig):
    started(rig)
    rig.plumbing.failure = "cannot replace nft table"
    rig.watch.heard(Notice("rule removed"))
    rig.clock.advance(0.05)
    rig.plumbing.failure, rig.plumbing.steps = None, (STEP,)
    rig.clock.pump([0.1] * 9)
    (repair, *_) = rig.repairs
    assert repair.heard == ("rule removed",)
    assert rig.ask("status")["ready"] is True


def test_without_ears_it_does_not_start(rig):
    rig.watch.failure = PermissionError(1, "Operation not permitted")
    with pytest.raises(PlumbingError, match="cannot listen to the kernel"):
        result(rig.daemon.start())


def test_a_stopped_daemon_hears_nothing(rig):
    started(rig)
    heard = rig.watch.heard
    rig.daemon.stop()
    heard(Notice("rule removed"))
    rig.clock.advance(EVERY)
    assert rig.plumbing.done == []


def test_our_own_doing_asks_for_no_comparison(rig):
    started(rig)
    rig.watch.heard(Notice("elements added in table egress", "python (pid 7)", own=True))
    rig.clock.advance(EVERY / 2)
    assert rig.plumbing.done == []
    rig.watch.heard(Notice("elements added in table egress", "nft (pid 8)"))
    rig.clock.advance(EVERY / 4)
    assert rig.plumbing.done == ["reconcile"]


def test_what_cannot_be_mended_is_shown_and_tried_again(rig):
    result(rig.daemon.start())
    rig.plumbing.failure = "cannot replace nft table"
    rig.clock.advance(EVERY)
    status = rig.ask("status")
    assert (status["ready"], status["problem"]) == (False, "cannot replace nft table")
    rig.plumbing.failure = None
    rig.clock.advance(EVERY)
    assert rig.ask("status")["ready"] is True


def test_g2_an_invalid_policy_leaves_the_last_exceptions_in_force(rig):
    rig.exceptions.append(("good",))
    result(rig.daemon.start())
    rig.exceptions.append(ValueError("operator.yaml:3: no"))
    with pytest.raises(ControlError, match=r"operator\.yaml:3"):
        rig.ask("reload")
    assert [x for x in rig.plumbing.done if x[0] == "exceptions"] == [("exceptions", ("good",))]
    assert rig.ask("status")["problem"] == "operator.yaml:3: no"
    rig.exceptions.append(())
    assert rig.ask("reload") == {}
    assert rig.ask("status")["problem"] == ""


def test_reload_says_what_the_kernel_refused(rig):
    result(rig.daemon.start())
    rig.plumbing.failure = "nft refused"
    with pytest.raises(ControlError, match="nft refused"):
        rig.ask("reload")


def test_drift_is_told_and_not_mended(rig):
    """`egress doctor` asks: a question that repairs would find nothing wrong, ever."""
    result(rig.daemon.start())
    rig.plumbing.done.clear()
    rig.plumbing.drifted = (str(STEP),)
    assert rig.ask("drift") == {"steps": ["set link uplink up in the gateway namespace"]}
    assert rig.plumbing.done == ["drift"]
    rig.plumbing.failure = "netlink is shut"
    with pytest.raises(ControlError, match="netlink is shut"):
        rig.ask("drift")


def test_counters_by_name(rig):
    assert rig.ask("counters") == {"counters": {"spoofed": {"packets": 2, "bytes": 80}}}


def test_teardown_stops_comparing_first(rig):
    result(rig.daemon.start())
    assert rig.ask("teardown") == {}
    assert rig.torn_down == 1
    rig.clock.advance(EVERY * 2)
    assert "reconcile" not in rig.plumbing.done


def test_only_root_may_ask(rig):
    assert all(not operation.uids for operation in rig.daemon.operations(rig._counters).values())


def test_a_mistake_of_ours_does_not_end_the_comparison(rig, monkeypatch):
    monkeypatch.setattr("netns.daemon._log.failure", lambda *_, **__: None)
    started(rig)
    with monkeypatch.context() as broken:
        broken.setattr(rig.plumbing, "_outcome", lambda: 1 / 0)
        rig.clock.advance(EVERY)
        assert rig.ask("status")["ready"] is False
    compared = rig.plumbing.done.count("reconcile")
    rig.clock.pump([EVERY, EVERY])
    assert rig.plumbing.done.count("reconcile") > compared
    assert rig.ask("status")["ready"] is True

"""What is remembered and recorded of repairs."""

from netns.kernel import Converged
from netns.notices import Notice
from netns.repairs import CAUSES, KEPT, STEPS, Repairs
from netns.state import Side
from netns.steps import SetUp

STEP = SetUp(Side.GATEWAY, "uplink")


class Rig:
    def __init__(self):
        self.now = 1000.0
        self.told = []
        self.repairs = Repairs(lambda: self.now, self.told.append)

    def mend(self, steps=(STEP,), vanished=()):
        causes = self.repairs.causes()
        self.now += 0.03
        self.repairs.done(Converged(steps, vanished), causes)


def test_a_repair_says_what_was_done_how_fast_and_what_was_heard():
    rig = Rig()
    rig.repairs.noticed(Notice("link changed"))
    rig.now += 0.02
    rig.repairs.noticed(Notice("elements removed in table egress", "nft (pid 5)"))
    rig.mend()
    (repair,) = rig.told
    record = repair.record()
    assert (record.event, record.subject, record.reason) == ("repaired", str(STEP), "drift")
    assert record.detail == (
        f"{STEP} (50 ms after: link changed; elements removed in table egress, by nft (pid 5))"
    )
    assert rig.repairs.last.startswith("1970-01-01T00:16:40.050000Z set link")
    assert rig.repairs.count == 1
    rig.mend(steps=(STEP, STEP, STEP))
    assert rig.repairs.last.endswith(f"{STEP} and 2 more")


def test_nothing_done_is_no_repair():
    rig = Rig()
    rig.repairs.noticed(Notice("link changed"))
    rig.mend(steps=())
    assert (rig.told, rig.repairs.last, rig.repairs.recent(), rig.repairs.count) == ([], "", [], 0)
    rig.mend()
    assert rig.told[0].heard == ()
    assert "at the regular comparison" in str(rig.told[0])


def test_our_own_changes_are_no_cause():
    rig = Rig()
    rig.repairs.noticed(Notice("rule added", "nft (pid 5)", own=True))
    rig.mend()
    assert rig.told[0].heard == ()
    assert rig.told[0].after is None


def test_what_follows_from_a_container_that_went_is_told_as_such():
    rig = Rig()
    rig.mend(vanished=("e" * 64,))
    assert rig.told[0].record().reason == "containers-gone"


def test_a_failed_comparison_leaves_its_notices_to_the_next():
    rig = Rig()
    rig.repairs.noticed(Notice("first"))
    failed = rig.repairs.causes()
    rig.now += 1
    rig.repairs.noticed(Notice("second"))
    rig.repairs.unanswered(failed)
    rig.mend()
    assert rig.told[0].heard == ("first", "second")
    assert 1 < rig.told[0].after < 1.1


def test_everything_is_bounded():
    rig = Rig()
    for number in range(50):
        rig.repairs.noticed(Notice(f"notice {number}"))
    rig.mend(steps=(STEP,) * 50)
    assert len(rig.told[0].heard) == CAUSES
    assert str(rig.told[0]).count("set link") == STEPS
    assert "and 44 more" in str(rig.told[0])
    for _ in range(50):
        rig.mend()
    assert len(rig.repairs.recent()) == KEPT

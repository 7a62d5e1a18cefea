"""No network without admission: the plugin must be on in dockerd (design §3)."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver_fakes import FakeEngine, run

from netns.driver.refusal import DriverRefused
from netns.driver.switch import MARK, MAX_AGE, STARTING, AdmissionSwitch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def unknown() -> float | None:
    return None


def test_off_is_refused_with_the_mend(tmp_path: Path) -> None:
    engine = FakeEngine()
    switch = AdmissionSwitch(engine, "egress", tmp_path / "daemon.json", Clock(), unknown)
    with pytest.raises(DriverRefused) as refused:
        run(switch.require_on())
    assert '"authorization-plugins": ["egress"]' in str(refused.value)
    assert "reload" in str(refused.value)


def test_a_good_answer_is_kept_for_a_while_only(tmp_path: Path) -> None:
    engine, clock = FakeEngine(), Clock()
    switch = AdmissionSwitch(engine, "egress", tmp_path / "daemon.json", clock, unknown)
    engine.authorization = [switch.heard]
    for _ in range(3):
        run(switch.require_on())
    assert engine.asked == ["ping"]
    engine.authorization = []
    clock.now += MAX_AGE
    for _ in range(2):
        with pytest.raises(DriverRefused):
            run(switch.require_on())
    assert engine.asked == ["ping"] * 3


def test_only_our_own_call_is_proof(tmp_path: Path) -> None:
    engine = FakeEngine()
    switch = AdmissionSwitch(engine, "egress", tmp_path / "daemon.json", Clock(), unknown)
    engine.authorization = [lambda _target: switch.heard(f"/_ping?{MARK}{'0' * 32}")]
    with pytest.raises(DriverRefused):
        run(switch.require_on())


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ('{"authorization-plugins": ["egress"]}', True),
        ('{"authorization-plugins": []}', False),
        ("{}", False),
        ("[]", False),
        ("no json", False),
        (None, False),
    ],
)
def test_while_dockerd_starts_its_file_speaks(tmp_path: Path, text: str | None, *, on: bool) -> None:
    engine = FakeEngine()
    engine.silent = True
    file = tmp_path / "daemon.json"
    if text is not None:
        file.write_text(text)
    switch = AdmissionSwitch(engine, "egress", file, Clock(), lambda: 1.0)
    if on:
        run(switch.require_on())
    else:
        with pytest.raises(DriverRefused):
            run(switch.require_on())


def test_the_file_proves_nothing_while_dockerd_answers(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"authorization-plugins": ["egress"]}')
    with pytest.raises(DriverRefused):
        run(AdmissionSwitch(FakeEngine(), "egress", file, Clock(), unknown).require_on())


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    file = tmp_path / "daemon.json"
    file.write_text('{"authorization-plugins": ["egress"]}')
    return file


def silent_after_an_answer(file: Path, age: float | None) -> AdmissionSwitch:
    """The engine answered at 100 s and is silent from then on, `age` seconds old at the next question."""
    engine, clock = FakeEngine(), Clock()
    switch = AdmissionSwitch(engine, "egress", file, clock, lambda: age)
    engine.authorization = [switch.heard]
    run(switch.require_on())
    engine.silent = True
    clock.now += 30
    return switch


@pytest.mark.parametrize("age", [29.0, 1.0])
def test_a_dockerd_that_started_after_the_last_answer_is_starting(configured: Path, age: float) -> None:
    run(silent_after_an_answer(configured, age).require_on())


@pytest.mark.parametrize("age", [31.0, None])
def test_silence_of_one_that_answered_before_proves_nothing(configured: Path, age: float | None) -> None:
    """A reload may have taken the plugin out, or the file was written without one; and it is only slow."""
    with pytest.raises(DriverRefused):
        run(silent_after_an_answer(configured, age).require_on())


def test_one_that_has_been_silent_for_long_is_not_starting(configured: Path) -> None:
    engine = FakeEngine()
    engine.silent = True
    with pytest.raises(DriverRefused):
        run(AdmissionSwitch(engine, "egress", configured, Clock(), lambda: STARTING).require_on())


def test_a_no_ends_an_earlier_proof_at_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    switch = AdmissionSwitch(engine, "egress", tmp_path / "daemon.json", Clock(), unknown)
    engine.authorization = [switch.heard]
    run(switch.require_on())
    assert run(switch.asks()) is True
    engine.authorization = []
    run(switch.require_on())  # the proof is young
    assert run(switch.asks()) is False
    with pytest.raises(DriverRefused):
        run(switch.require_on())
    engine.silent = True
    assert run(switch.asks()) is None

from __future__ import annotations

from appliance.verify.case import Layer, Result, Seat
from tests.unit.verify.fake_world import case


def test_the_attack_is_the_beginning_of_the_id() -> None:
    assert case(id="A4-ssh-late").attack == "A4"


def test_a_case_held_when_it_ran_without_a_problem() -> None:
    assert Result(case(), Layer.GATEWAY, 0.1).held
    assert not Result(case(), Layer.GATEWAY, 0.1, problems=("x",)).held
    assert not Result(case(), Layer.GATEWAY, 0.1, not_run="no image").held


def test_when_service_has_to_be_taken_away() -> None:
    assert not case().takes_away(Layer.GATEWAY)
    assert case().takes_away(Layer.SQUID)
    assert case().takes_away(Layer.KERNEL)
    assert not case(seat=Seat.GATEWAY).takes_away(Layer.KERNEL)

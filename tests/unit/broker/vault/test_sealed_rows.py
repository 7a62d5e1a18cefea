"""What is kept of sealed rows; with a real vault in the test of `calls.secrets`."""

from __future__ import annotations

from appliance.broker.vault.envelope import Place, Sealed
from appliance.broker.vault.sealed_rows import CAPACITY, SealedRows
from appliance.broker.vault.vault import Found

OURS = ("acme", "crm-api", "key")
FOUND = Found(Place(*OURS, 1, "static"), Sealed(b"wrapped", b"sealed"), "k1")


class Told:
    def __init__(self) -> None:
        self.now: tuple[int, int] | None = (1, 1)

    def state(self) -> tuple[int, int] | None:
        return self.now


def rows() -> tuple[SealedRows, Told]:
    told = Told()
    made = SealedRows(told)  # type: ignore[arg-type]
    state, found = made.look(*OURS)
    assert found is None
    made.keep(state, *OURS, FOUND)
    return made, told


def test_what_is_kept_is_given_while_nothing_changes() -> None:
    made, _ = rows()
    assert made.look(*OURS) == ((1, 1), FOUND)
    for other in (("globex", *OURS[1:]), ("acme", "other", "key"), ("acme", "crm-api", "other")):
        assert made.look(*other)[1] is None


def test_any_change_forgets_all_of_it() -> None:
    made, told = rows()
    told.now = (1, 2)
    assert made.look(*OURS) == ((1, 2), None)
    told.now = (1, 1)
    assert made.look(*OURS)[1] is None


def test_a_database_that_tells_nothing_has_nothing_kept() -> None:
    made, told = rows()
    told.now = None
    assert made.look(*OURS) == (None, None)
    made.keep(None, *OURS, FOUND)
    assert made.look(*OURS) == (None, None)


def test_what_was_read_in_an_earlier_state_is_not_kept() -> None:
    made, told = rows()
    told.now = (1, 2)
    made.look(*OURS)
    made.keep((1, 1), *OURS, FOUND)
    assert made.look(*OURS)[1] is None


def test_there_is_a_bound() -> None:
    made, _ = rows()
    for number in range(CAPACITY):
        made.keep((1, 1), "acme", "crm-api", str(number), FOUND)
    assert made.look(*OURS)[1] is None
    assert made.look("acme", "crm-api", "0")[1] is FOUND

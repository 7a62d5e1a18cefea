"""appliance.gateway.outbox: no answer is completed before its record, and one's failure is not another's."""

from __future__ import annotations

from appliance.gateway.outbox import Outbox

from .support import Log
from .test_session import GET, OK, Talk


class Turns:
    """A reactor whose turn ends when the test says so."""

    def __init__(self) -> None:
        self.acts: list = []
        self.at_turn_end = self.acts.append

    def end(self) -> None:
        acts, self.acts[:] = list(self.acts), []
        for act in acts:
            act()


def talking(turns: Turns) -> tuple[Talk, object]:
    """A request whose answer is complete but for its record."""
    talk = Talk()
    talk.worker.outbox = Outbox(talk.worker.audit, turns)
    talk.says(GET)
    server = talk.server()
    server.protocol.dataReceived(OK)
    return talk, server


def test_an_answer_waits_for_its_record() -> None:
    turns = Turns()
    talk, _ = talking(turns)
    assert talk.wire.value() == b""
    assert talk.records == []
    turns.end()
    assert talk.records == [("allowed", "allowed-by-profile")]
    assert talk.statuses == [200]


def test_a_request_behind_it_is_taken_up_after_it() -> None:
    turns = Turns()
    talk, server = talking(turns)
    talk.says(GET.replace(b"/x", b"/y"))
    assert b"/y" not in server.value()
    turns.end()
    assert b"GET /y " in server.value()


def test_who_has_left_meanwhile_is_told_nothing() -> None:
    turns = Turns()
    talk, _ = talking(turns)
    talk.connection.connectionLost()
    turns.end()
    assert talk.wire.value() == b""
    assert talk.records == [("allowed", "allowed-by-profile")]


def test_what_cannot_be_recorded_is_cut_off() -> None:
    turns = Turns()
    talk, _ = talking(turns)
    talk.worker.audit.loses = True
    turns.end()
    assert talk.wire.aborted
    assert talk.wire.value() == b""


class Told:
    def __init__(self) -> None:
        self.told: list = []

    def recorded(self, wire: bytes, *, written: bool, keep_alive: bool) -> None:
        self.told.append((wire, written, keep_alive))


def test_all_of_a_turn_are_told_together() -> None:
    turns, log, sessions = Turns(), Log(), [Told(), Told()]
    outbox = Outbox(log, turns)
    for number, session in enumerate(sessions):
        outbox.put(session, b"%d" % number, keep_alive=bool(number))
    assert len(turns.acts) == 1
    turns.end()
    assert [session.told for session in sessions] == [[(b"0", True, False)], [(b"1", True, True)]]
    outbox.put(sessions[0], b"2", keep_alive=True)
    log.loses = True
    turns.end()
    assert sessions[0].told[1:] == [(b"2", False, True)]


def test_a_mistake_ends_its_own_connection_only() -> None:
    turns = Turns()
    talk, _ = talking(turns)
    talk.wire.write = None  # type: ignore[assignment]  # a mistake of ours
    turns.end()
    assert talk.wire.aborted


def test_requests_behind_it_are_taken_up_in_the_turns_of_their_tenant() -> None:
    turns = Turns()
    talk, _ = talking(turns)
    later: list = []
    talk.worker.turns.later = lambda tenant, act: later.append((tenant, act))  # type: ignore[method-assign]
    talk.says(GET.replace(b"GET", b"DELETE") * 3)
    turns.end()
    assert talk.statuses == [200]
    ((tenant, act),) = later
    assert tenant == "acme"
    act()
    assert talk.statuses == [200, 403, 403, 403]


def test_whatever_goes_wrong_with_the_records_nobody_is_forgotten() -> None:
    turns = Turns()
    talk, _ = talking(turns)

    def fails() -> None:
        raise OSError("the directory is gone")

    talk.worker.audit.flush = fails
    turns.end()
    assert talk.wire.aborted
    assert talk.wire.value() == b""

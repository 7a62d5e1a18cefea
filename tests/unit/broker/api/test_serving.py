"""The wiring: certificates wait until it is known who is there."""

from __future__ import annotations

from sqlalchemy import func, select

from appliance.broker.api.departures import PRUNE_SECONDS
from appliance.broker.database import reading
from appliance.broker.replay import UsedProof, used_proofs
from appliance.broker.session_table import Session, SessionTable, sessions
from tests.unit.broker.api.support import Broker


def test_it_opens_when_netd_has_spoken(broker: Broker) -> None:
    assert broker.interface.enrolments.is_open
    broker.feed.ready = False
    other = broker.wired()
    other.start()
    assert not other.enrolments.is_open
    broker.feed.ready = True
    broker.clock.advance(1)
    assert other.enrolments.is_open
    other.stop()


def test_expired_rows_go_while_the_broker_runs_and_nobody_asks(broker: Broker) -> None:
    over = Session("a" * 32, "acme", "spiffe://x", None, "t" * 43, None, 1, 2, None)
    SessionTable(broker.database).add(over, "token", 9)
    broker.identities.replays.first_use(UsedProof("acme", "s", "k", "j"), 1, 2)

    def rows() -> list[int]:
        with reading(broker.database) as connection:
            counts = [select(func.count()).select_from(table) for table in (sessions, used_proofs)]
            return [connection.execute(count).scalar_one() for count in counts]

    assert rows() == [1, 1]
    broker.clock.advance(PRUNE_SECONDS)
    assert rows() == [0, 0]

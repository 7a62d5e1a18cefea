"""The wiring: certificates wait until it is known who is there."""

from __future__ import annotations

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

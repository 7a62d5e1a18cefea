from __future__ import annotations

from errno import ENOTCONN

from twisted.internet import error
from twisted.internet.address import IPv4Address as Peer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from appliance.gateway.dial import DialFailed, Dialler, Direct
from appliance.gateway.limits import Limits

from .support import OTHER_PUBLIC, PUBLIC, Socket, Wire


class Dial:
    """A dial in progress, played by hand."""

    def __init__(self, *addresses, **limits) -> None:
        self.reactor = MemoryReactorClock()
        self.outcome: list = []
        bounds = Limits(**limits)
        self.deferred = Deferred.fromCoroutine(
            Dialler(self.reactor, None, bounds, Direct(self.reactor, bounds)).connect(addresses, 443)
        )
        self.deferred.addBoth(self.outcome.append)

    @property
    def tried(self):
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def arrive(self, peer) -> Wire:
        factory = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(Peer("TCP", *peer))
        wire = Wire(peer)
        protocol.makeConnection(wire)
        return wire

    def fail(self, error) -> None:
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(error))

    def refusal(self):
        (failure,) = self.outcome
        failure.trap(DialFailed)
        return failure.value.refusal


def test_it_connects_to_the_literal_address() -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    wire = dial.arrive((str(PUBLIC), 443))
    assert dial.tried == [(str(PUBLIC), 443)]
    assert dial.outcome == [(wire, PUBLIC)]


def test_a_peer_that_is_not_the_judged_address_is_dropped() -> None:
    dial = Dial(PUBLIC)
    wire = dial.arrive(("10.0.0.1", 443))
    assert wire.aborted
    assert dial.refusal().reason == "internal-error"


def test_the_next_address_is_tried_and_the_number_is_bounded() -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC, PUBLIC, addresses_tried=2)
    dial.fail(error.ConnectionRefusedError())
    dial.fail(error.ConnectionRefusedError())
    assert dial.tried == [(str(PUBLIC), 443), (str(OTHER_PUBLIC), 443)]
    assert dial.refusal().reason == "upstream-unreachable"


def test_time_out_is_504() -> None:
    dial = Dial(PUBLIC)
    dial.fail(error.TimeoutError())
    assert (dial.refusal().status, dial.refusal().reason) == (504, "upstream-connect-timeout")


def test_cancelling_stops_the_attempt() -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    stopped: list[bool] = []

    def disconnect() -> None:
        """As Twisted's does while it connects: it fails the attempt before `cancel` returns."""
        stopped.append(True)
        attempt = dial.reactor.tcpClients[0][2]
        attempt.clientConnectionFailed(None, Failure(error.UserError()))

    dial.reactor.connectors[0].disconnect = disconnect
    dial.deferred.cancel()
    assert stopped
    assert len(dial.reactor.tcpClients) == 1
    (failure,) = dial.outcome
    assert failure.check(CancelledError)
    assert dial.arrive((str(PUBLIC), 443)).aborted


def test_a_peer_that_is_gone_before_it_is_looked_at_is_one_that_does_not_accept(monkeypatch) -> None:
    """Accepted and reset at once: the kernel does not know the peer any more (ENOTCONN)."""
    dial = Dial(PUBLIC, OTHER_PUBLIC)

    def gone(_socket) -> None:
        raise OSError(ENOTCONN, "Transport endpoint is not connected")

    with monkeypatch.context() as patch:
        patch.setattr(Socket, "getpeername", gone)
        wire = dial.arrive((str(PUBLIC), 443))
    assert wire.aborted
    assert dial.tried[-1] == (str(OTHER_PUBLIC), 443)
    dial.fail(error.ConnectionRefusedError())
    assert dial.refusal().reason == "upstream-unreachable"

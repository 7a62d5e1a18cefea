"""A WebSocket of an integration account: opened as any call, scrubbed in every frame, ended for a reason, on record.

Long, for each end is tried on the same open WebSocket, which takes a provider and a worker to open.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from appliance.broker.calls import websocket
from appliance.broker.calls.call import Call
from appliance.broker.calls.connection import CallConnection
from appliance.broker.calls.refusals import ACCOUNT_WITHDRAWN
from appliance.broker.calls.websocket import CLOSING_SECONDS, LOOK_SECONDS, Places, Rate
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.stream import Stream
from appliance.handover import HANDED_OVER_SECONDS
from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.rules import AllowRule
from appliance.policy.slot import Slot
from appliance.policy.verdict import Outcome, Reason, Verdict
from tests.unit.broker.calls.support import DEAD, HANDLE, SECRET, Neighbours, policy_of
from tests.unit.gateway.support import ENDPOINT
from tests.unit.websocket.test_frames import frame, read
from tests.unit.websocket.test_handshake import ACCEPT, ASKS, KEY

SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()
DONE, LOST = Failure(ConnectionDone()), Failure(ConnectionLost())
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
NORMAL = b"\x03\xe8"


def live(most: int = 1 << 20, host: str = "api.example.com") -> Bound:
    """An account with a group that opens a WebSocket, and one that does not."""
    where = HostPattern.of(host)
    rules = []
    for name, path, upgrade in (("live", "/live", "websocket"), ("read", "/data/**", None)):
        verdict = Verdict(
            Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts[0]", "", upgrade=upgrade, account="crm",
            group=name,
        )  # fmt: skip
        rules.append((where, AllowRule(
            "accounts[0]", frozenset({("https", 443)}), frozenset({"GET"}),
            (PathPattern.parse(path), PathPattern.parse(f"{path}/*")),
            frozenset(), frozenset(), False, most, verdict, upgrade=upgrade,
            subprotocols=frozenset({"realtime"} if upgrade else ()),
        )))  # fmt: skip
    slot = Slot(style="bearer")
    account = CompiledAccount(
        "crm", "crm-api", "CRM", "crm-key", frozenset({"static"}), (where,), 443,
        {name: CompiledGroup(name, slot, "write") for name in ("live", "read")}, "accounts[0]",
        reference_scheme="agentsecrets",
    )  # fmt: skip
    return Bound.of([account], rules)


class Open(Neighbours):
    """A worker that has handed over a handshake."""

    def __init__(self, *lines: str, path: str = "/live", bound: Bound | None = None) -> None:
        super().__init__(live() if bound is None else bound)
        self.fresh: list[bool] = []
        self.get(path, *ASKS, *lines)

    async def connect(self, *where, fresh=False, own=None):
        self.fresh.append(fresh)
        return await super().connect(*where, fresh=fresh, own=own)

    def switch(self, answer: bytes = SWITCH, behind: bytes = b"") -> Open:
        self.answer(answer + behind)
        assert self.said.startswith(b"HTTP/1.1 101 ")
        self.heard = self.said.index(b"\r\n\r\n") + 4
        self.asked = self.sent.index(b"\r\n\r\n") + 4
        return self

    def says(self, data: bytes) -> None:
        """The container does."""
        self.connection.dataReceived(data)

    @property
    def received(self) -> list:
        """Frames that the worker got."""
        return read(self.said[self.heard :], masked=False)

    @property
    def passed(self) -> list:
        """Frames that the provider got."""
        return read(self.sent[self.asked :], masked=True)

    @property
    def told(self) -> tuple[int, str]:
        (_, opcode, payload) = self.received[-1]
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    @property
    def last(self):
        return self.audit.records[-1]

    def ended(self, reason: str, outcome: str) -> bool:
        """Whether it is over, for that reason, and nothing is held any more."""
        begun, last = self.audit.records
        return (
            (last.reason, last.outcome, last.status) == (reason, outcome, 101)
            and last.request_id == begun.request_id
            and self.upstreams[0].lost
            and self.worker.half_closed
            and self.audit.open_claims == 0
        )


# Opening.


def test_004_39_it_is_asked_for_with_the_secret_on_a_connection_of_its_own_and_without_extensions() -> None:
    n = Open(
        f"Authorization: Bearer {HANDLE}", "Sec-WebSocket-Protocol: realtime", "OpenAI-Beta: realtime=v1",
        "Sec-WebSocket-Extensions: permessage-deflate", "Sec_WebSocket_Key: other",
    )  # fmt: skip
    assert n.fresh == [True]
    assert n.sent.decode() == (
        "GET /live HTTP/1.1\r\nHost: api.example.com\r\nOpenAI-Beta: realtime=v1\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: realtime\r\n"
        f"authorization: Bearer {SECRET}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    n.switch(SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: realtime\r\n\r\n"))
    assert n.said.decode() == (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Protocol: realtime\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"
        "X-Egress-Request-Id: id-1\r\n\r\n"
    )
    assert n.held[0].closed


def test_004_39_the_fields_of_the_101_are_searched() -> None:
    n = Open().switch(
        SWITCH.replace(b"\r\n\r\n", f"\r\nX-Echo: {SECRET}\r\nSet-Cookie: a=b\r\n\r\n".encode())
    )
    assert SECRET.encode() not in n.said
    assert b"X-Echo: [scrubbed:secret]\r\n" in n.said
    assert b"Cookie" not in n.said


@pytest.mark.parametrize(
    ("path", "lines", "reason"),
    [
        ("/data/1", (), "upgrade-not-allowed"),
        ("/live", ("Sec-WebSocket-Protocol: openai-insecure-api-key.x",), "subprotocol-not-allowed"),
        ("/live", (f"Sec-WebSocket-Key: {KEY}",), "websocket-handshake-invalid"),
        ("/live", ("Authorization: Bearer its-own",), "authority-collision"),
        ("/live", (f"Authorization: Bearer {DEAD}",), "handle-dead"),
    ],
)
def test_004_31_a_websocket_is_checked_as_any_call_before_a_secret_is_read(path, lines, reason) -> None:
    n = Open(*lines, path=path)
    assert n.last.reason == reason
    assert n.held == []
    assert n.sent == b""
    assert bool(n.killed) == (reason == "authority-collision")
    assert n.audit.open_claims == 0


def test_where_only_a_websocket_is_allowed_a_plain_request_is_not() -> None:
    n = Neighbours(live())
    n.get("/live")
    assert n.record.reason == "upgrade-required"


def test_another_protocol_is_no_call() -> None:
    n = Neighbours(live())
    n.get("/live", "Connection: Upgrade", "Upgrade: TLS/1.3")
    assert n.record.reason == "call-malformed"


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(ACCEPT.encode(), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: raw"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: other\r\n\r\n"),
    ],
)
def test_004_39_any_other_101_opens_nothing(answer: bytes) -> None:
    n = Open()
    n.answer(answer + frame(TEXT, SECRET.encode(), mask=None))
    assert n.said.startswith(b"HTTP/1.1 502 ")
    assert SECRET.encode() not in n.said
    assert n.record.reason == "upstream-protocol-error"
    assert n.upstreams[0].lost


def test_a_101_that_nobody_asked_for_is_none() -> None:
    n = Neighbours(live())
    n.get("/data/1")
    n.answer(SWITCH)
    assert n.record.reason == "upstream-protocol-error"


def test_an_answer_that_is_no_101_is_an_answer_like_others() -> None:
    n = Open()
    n.answer(f"HTTP/1.1 401 No\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}".encode())
    assert n.said.startswith(b"HTTP/1.1 401 ")
    assert SECRET.encode() not in n.said
    assert n.record.status == 401
    n.get("/data/1")
    n.answer()
    assert n.last.status == 200


def test_000_68_without_a_record_it_is_not_opened() -> None:
    n = Open()
    n.audit.ready = False
    n.answer(SWITCH)
    assert n.said.startswith(b"HTTP/1.1 503 ")
    assert n.upstreams[0].lost


def test_frames_before_the_101_are_nobodys() -> None:
    n = Open()
    n.says(frame(TEXT, b"early"))
    assert n.worker.aborted


def test_how_many_are_open_is_bounded_for_each_tenant_and_in_all() -> None:
    places = Places(of_tenant=2, in_all=3)
    assert [places.take(tenant) for tenant in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    places.leave("a")
    assert places.take("b")


@pytest.mark.parametrize("way", ["refused", "no 101", "closed", "hung up"])
def test_a_place_is_left_however_it_ends(way: str) -> None:
    n = Open(*(("X-Api-Key: own",) if way == "refused" else ()))
    object.__setattr__(n.means, "websockets", Places(of_tenant=1))
    n.connection = CallConnection(0, lambda *found: Call(n.means, *found))
    n.connection.transport = n.worker
    n.worker.clear()
    n.get("/live", *ASKS, *(("X-Api-Key: own",) if way == "refused" else ()))
    if way == "no 101":
        n.answer()
    elif way != "refused":
        n.switch()
        n.policy = policy_of(None) if way == "closed" else n.policy
        n.says(frame(TEXT, b"x"))
        assert way == "closed" or not n.means.websockets.take("acme")
        n.connection.connectionLost()
    assert n.means.websockets.take("acme")


def test_without_a_place_no_secret_is_read() -> None:
    n = Neighbours(live())
    object.__setattr__(n.means, "websockets", Places(of_tenant=0))
    n.get("/live", *ASKS)
    assert (n.record.reason, n.record.outcome) == ("websockets-too-many", "failed")
    assert n.log == []
    n.get("/data/1")
    assert n.held


# Carrying.


def test_000_04_its_beginning_and_its_end_are_on_record() -> None:
    n = Open().switch()
    begun = n.record
    assert (begun.outcome, begun.status, begun.detail) == ("allowed", 101, "A WebSocket was opened.")
    assert (begun.group, begun.secret, begun.checks[-1]) == ("live", "crm-key", "container")
    n.says(frame(TEXT, b"hello") + frame(CLOSE, NORMAL))
    n.answer(frame(CLOSE, NORMAL, mask=None))
    n.upstreams[0].connectionLost(DONE)
    assert n.ended("allowed-by-integration", "allowed")
    assert n.last.detail == "The WebSocket ended with code 1000."
    assert n.passed == [(True, TEXT, b"hello"), (True, CLOSE, NORMAL)]
    assert n.received == [(True, CLOSE, NORMAL)]
    assert frame(TEXT, b"hello") not in n.sent  # masked anew


def test_004_01_neither_record_has_the_secret_that_a_path_had() -> None:
    n = Open(path=f"/live/{SECRET}").switch()
    n.connection.connectionLost()
    assert [record.path for record in n.audit.records] == ["/live/[scrubbed:secret]"] * 2


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_004_39_a_secret_that_is_split_over_frames_does_not_come_through(size: int) -> None:
    """However frames, and the octets of frames, are cut; with control frames in between."""
    for place in (1, 7, len(SECRET) - 1):
        n = Open().switch()
        data = (
            frame(TEXT, b'{"echo":"' + SECRET[:place].encode(), final=False, mask=None)
            + frame(PING, b"p", mask=None)
            + frame(0, b"", final=False, mask=None)
            + frame(0, SECRET[place:].encode() + b'"}', mask=None)
        )
        for at in range(0, len(data), size):
            n.answer(data[at : at + size])
        text = b"".join(payload for _, opcode, payload in n.received if opcode in (TEXT, 0))
        assert text == b'{"echo":"[scrubbed:secret]"}'
        assert (True, PING, b"p") in n.received


def test_004_39_what_comes_behind_the_101_is_searched_as_well() -> None:
    n = Open().switch(behind=frame(BINARY, b"a " + SECRET.encode(), mask=None))
    assert n.received == [(True, BINARY, b"a [scrubbed:secret]")]


def test_an_event_goes_on_at_once() -> None:
    n = Open().switch()
    n.answer(frame(TEXT, b'{"type":"session.created"}', mask=None))
    assert n.received == [(True, TEXT, b'{"type":"session.created"}')]


def test_each_side_is_read_only_as_fast_as_the_other_takes() -> None:
    n = Open().switch()
    n.worker.producer.pauseProducing()
    assert n.upstreams[0].transport.producerState == "paused"
    n.worker.producer.resumeProducing()
    n.upstreams[0].transport.producer.pauseProducing()
    assert n.worker.producerState == "paused"


def test_004_39_what_the_scrubber_fails_at_ends_it_with_1011_and_on_record(monkeypatch) -> None:
    n = Open().switch()

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(Stream, "_sieves", property(fails), raising=False)
    n.answer(frame(TEXT, SECRET.encode(), mask=None))
    assert n.told == (1011, "scrub-failed")
    assert n.ended("scrub-failed", "failed")
    assert SECRET.encode() not in n.said


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n\r\n", frame(TEXT, b"x"), b"\xc1\x00"])
@pytest.mark.parametrize("behind", [True, False])
def test_what_is_no_frame_of_a_server_ends_it(data: bytes, behind) -> None:
    n = Open().switch(behind=data) if behind else Open().switch()
    if not behind:
        n.answer(data)
    assert n.told == (1014, "upstream-protocol-error")
    assert n.ended("upstream-protocol-error", "failed")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", frame(TEXT, b"x", mask=None)])
def test_nor_does_the_container_have_a_raw_tunnel_by_a_worker_that_lets_it(data: bytes) -> None:
    n = Open().switch()
    n.says(frame(BINARY, b"fine") + data)
    n.says(frame(BINARY, b"more"))
    assert n.passed in ([(True, BINARY, b"fine")], [])
    assert n.told == (1002, "websocket-frame-invalid")
    assert n.ended("websocket-frame-invalid", "denied")


def test_what_may_be_sent_is_bounded() -> None:
    n = Open(bound=live(most=10)).switch()
    n.says(frame(BINARY, b"x" * 10))
    n.says(frame(BINARY, b"x")[:6])
    assert n.passed == [(True, BINARY, b"x" * 10)]
    assert n.told == (1009, "body-too-large")
    assert n.ended("body-too-large", "denied")


@pytest.mark.parametrize("of_container", [True, False])
def test_frames_are_counted_however_small_they_are(of_container) -> None:
    n = Open()
    n.policy.limits = replace(n.policy.limits, frames_per_second=10)
    n.switch()
    some = frame(BINARY, b"", mask=b"abcd" if of_container else None)
    says = n.says if of_container else n.answer
    says(some * 10)
    n.clock.advance(1)
    says(some * 10)
    assert len(n.passed + n.received) == 20
    says(some)
    assert n.told == (1008, "frames-per-second-exceeded")
    assert n.ended("frames-per-second-exceeded", "denied")


def test_a_flood_in_one_read_is_not_searched_to_its_end() -> None:
    n = Open()
    n.policy.limits = replace(n.policy.limits, frames_per_second=10)
    n.switch()
    n.answer(frame(BINARY, b"", mask=None) * 30_000)
    assert n.told == (1008, "frames-per-second-exceeded")
    assert len(n.received) < websocket.PIECE


def test_a_second_is_a_second() -> None:
    rate = Rate()
    assert [rate.over(1, 2, now) for now in (0.0, 0.5, 0.9, 1.0, 1.9)] == [False, False, True, False, False]


# Ending.

CHANGES = {
    "account": (lambda n: setattr(n, "policy", policy_of(None)), "account-not-bound"),
    "group": (
        lambda n: setattr(n, "policy", policy_of(Bound.of(live().accounts.values(), []))), "host-not-allowed",
    ),
    "container": (lambda n: n.endpoints.replace([]), "endpoint-unknown"),
    "collision": (lambda n: object.__setattr__(n.means, "ended", lambda _: True), "execution-ended"),
}  # fmt: skip


@pytest.mark.parametrize("when", ["it says something", "it hears something", "nothing happens"])
@pytest.mark.parametrize("change", CHANGES)
def test_004_11_004_32_004_35_it_ends_with_its_account_its_container_and_a_collision(change, when) -> None:
    n = Open().switch()
    act, reason = CHANGES[change]
    act(n)
    if when == "it says something":
        n.says(frame(TEXT, b"late"))
    elif when == "it hears something":
        n.answer(frame(TEXT, b"late", mask=None))
    else:
        n.clock.pump([1] * int(LOOK_SECONDS + 1))
    assert n.passed == []
    assert n.told[0] == 1008
    assert [payload for _, opcode, payload in n.received if opcode == TEXT] == []
    assert n.last.reason == n.told[1]
    assert n.ended(n.last.reason, "denied")
    if change != "group":
        assert n.last.reason == reason


def test_a_policy_that_was_read_again_and_says_the_same_ends_nothing() -> None:
    n = Open().switch()
    n.policy = policy_of(live())
    n.says(frame(TEXT, b"more"))
    assert n.passed == [(True, TEXT, b"more")]


def test_the_worker_that_hangs_up_leaves_one_record_and_no_connection() -> None:
    n = Open().switch()
    n.connection.connectionLost()
    assert (n.last.reason, n.last.status) == ("client-closed", 101)
    assert n.upstreams[0].lost
    assert n.audit.open_claims == 0
    n.clock.pump([1] * 10)
    assert len(n.audit.records) == 2
    assert not n.means.deadlines._watched


@pytest.mark.parametrize("way", ["hung up", "closed", "broken"])
def test_004_01_what_knows_the_secret_is_gone_with_it_and_waits_for_no_collection(way: str) -> None:
    n = Open()
    known: list[weakref.ref] = []

    def scrubbing(live):
        made = Scrubber(live)
        known.append(weakref.ref(made))
        return made

    object.__setattr__(n.means, "scrubbing", scrubbing)
    n.connection = CallConnection(0, lambda *found: Call(n.means, *found))
    n.connection.transport = n.worker
    n.worker.clear()
    gc.disable()
    try:
        n.get("/live", *ASKS)
        n.switch()
        assert known[0]() is not None
        if way == "hung up":
            n.connection.connectionLost()
        elif way == "closed":
            n.answer(frame(CLOSE, NORMAL, mask=None))
            n.upstreams[-1].connectionLost(DONE)
        else:
            n.upstreams[-1].connectionLost(LOST)
        assert known[0]() is None
    finally:
        gc.enable()


def test_a_worker_that_was_not_read_is_read_to_its_end() -> None:
    n = Open().switch()
    n.upstreams[0].transport.producer.pauseProducing()
    assert n.worker.producerState == "paused"
    n.upstreams[0].connectionLost(LOST)
    assert n.worker.producerState == "producing"


def test_one_that_said_close_before_it_hung_up_left_in_good_order() -> None:
    n = Open().switch()
    n.says(frame(CLOSE, NORMAL))
    n.connection.connectionLost()
    assert n.last.outcome == "allowed"


def test_004_11_a_container_that_left_and_a_broker_that_stops_end_it_on_record() -> None:
    n = Open().switch()
    assert n.connection.endpoint == ENDPOINT.id
    n.connection.withdraw()
    assert (n.last.reason, n.last.status) == ("client-closed", 101)
    assert n.upstreams[0].lost
    assert n.worker.aborted


def test_004_35_what_it_is_made_with_is_taken_away_and_it_ends_at_once_on_record() -> None:
    n = Open().switch()
    n.connection._call.withdraw(ACCOUNT_WITHDRAWN)
    assert n.ended("account-withdrawn", "denied")
    assert n.told == (1008, "account-withdrawn")


def test_a_provider_that_breaks_off_is_told_of() -> None:
    n = Open().switch()
    n.answer(frame(TEXT, b"half", mask=None)[:4])
    n.upstreams[0].connectionLost(LOST)
    assert n.told == (1014, "upstream-closed")
    assert n.ended("upstream-closed", "failed")


def test_one_that_is_idle_or_old_ends() -> None:
    n = Open().switch()
    n.clock.pump([1] * int(HANDED_OVER_SECONDS + LOOK_SECONDS + 2))
    assert n.told == (1001, "tunnel-idle")
    n = Open()
    n.policy.limits = replace(n.policy.limits, tunnel_seconds=100)
    n.switch()
    for _ in range(107):
        n.clock.advance(1)
        n.says(frame(PING))
    assert n.told == (1001, "tunnel-too-old")
    assert n.ended("tunnel-too-old", "failed")


def test_a_provider_that_said_close_and_stays_is_not_waited_for() -> None:
    n = Open().switch()
    n.says(frame(CLOSE, NORMAL))
    n.answer(frame(CLOSE, NORMAL, mask=None))
    n.clock.pump([1] * int(CLOSING_SECONDS + LOOK_SECONDS + 2))
    assert n.ended("allowed-by-integration", "allowed")


def test_a_worker_that_does_not_let_go_is_cut_off() -> None:
    n = Open().switch()
    n.upstreams[0].connectionLost(LOST)
    n.says(frame(TEXT, b"more"))
    assert not n.worker.aborted
    n.clock.pump([1] * int(CLOSING_SECONDS + 2))
    assert n.worker.aborted
    assert len(n.audit.records) == 2


def test_004_01_a_mistake_of_ours_ends_it_and_shows_no_secret_in_the_log(monkeypatch) -> None:
    n = Open().switch()

    def mistake(*_):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(n.upstreams[0], "write", mistake)
    with capturedLogs() as events:
        n.says(frame(TEXT, b"x"))
    assert n.told == (1011, "internal-error")
    assert SECRET not in repr(events)
    assert n.ended("internal-error", "failed")

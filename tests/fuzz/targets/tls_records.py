"""TLS records of a hostile peer: what goes inside is what was sealed, in order, up to the first flaw, and no more (D8).

The peer is OpenSSL, whose records are broken, left out, repeated, or followed by any octets; or it shakes no hands at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.tls import stream
from appliance.tls.clienthello import InvalidHello, NotTLS, peek
from appliance.tls.profile import restrict
from appliance.tls.records import Records
from appliance.tls.stream import TLSStream

MOST_UNASKED = 1 << 17  # octets of a record, of what it seals and of what OpenSSL may say of itself
SEEDS = (
    b"\x00\x00\x20\x00\xff\x05\x09\x00\x01",  # we are the server: records, an answer, a record
    b"\x01\x00\x20\x05\x20\x00\x01\x04",  # we are the client: and a goodbye
    b"\x2a\x00\x80\x01\x09\x00\x05",  # TLS 1.2, in pieces: a record with a flaw, and one behind it
    b"\x10\x00\x05\x02\x05\x00\x05",  # one left out
    b"\x13\x00\x05\x03\x05\x04",  # one twice, and a goodbye
    b"\x08\x00\x05\x06\x06\x14\x03\x03\x00\x01\x01\x00\x05",  # octets in between that are a record of their own
    b"\x00\x00\x05\x06\x05\x17\x03\x03\xff\xff\x00\x05",  # the beginning of one that is too long
    b"\x02\x06\x07\x15\x03\x03\x00\x02\x01\x00\x00\x05",  # a goodbye that nobody has sealed
    b"\x00\x00\xff" + b"\x00\xff" * 40,
    b"\x04GET / HTTP/1.1\r\n\r\n",
    b"\x0c\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"\x05\x15\x03\x03\x00\x02\x02\x28",
)
TOKENS = (
    b"\x17\x03\x03", b"\x16\x03\x01", b"\x16\x03\x03", b"\x15\x03\x03\x00\x02", b"\x14\x03\x03\x00\x01\x01", b"\x40\x00", b"\x40\x01",
    b"\xff\xff", b"\x00\x00", b"\x01\x00", b"\x06\x05",
)  # fmt: skip
HEADER = 5
WHOLE, BROKEN, LEFT_OUT, TWICE, GOODBYE, ANSWER, OCTETS = range(KINDS := 7)


class _Inside(Protocol):
    """What speaks through the stream under trial."""

    def __init__(self) -> None:
        self.heard = b""
        self.completed = 0
        self.ends: list[type[BaseException] | None] = []

    def handshakeCompleted(self) -> None:
        self.completed += 1

    def dataReceived(self, data: bytes) -> None:
        assert self.completed == 1
        assert data
        assert not self.ends
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:
        self.ends.append(reason.type)


class _Trial:
    """A stream, and a peer of it that may do anything."""

    def __init__(self, *, as_client: bool, older: bool, size: int) -> None:
        self.inside, self.wire, self.records = _Inside(), StringTransport(), Records()
        self.size = size
        self.goodbye = False
        own, self.peer = (SSL.Connection(_context(side, older), None) for side in (as_client, not as_client))
        (client, server) = (own, self.peer) if as_client else (self.peer, own)
        client.set_connect_state()
        server.set_accept_state()
        self.stream = TLSStream(own, self.inside, self.records, server=not as_client)
        self.stream.makeConnection(self.wire)

    def shake_hands(self) -> None:
        while not self.inside.completed or self.wire.value():
            with suppress(SSL.WantReadError):
                self.peer.do_handshake()
            self.arrives(self.sealed())
            self.peer_hears()

    def sealed(self) -> bytes:
        """What the peer has to send."""
        try:
            return self.peer.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def peer_hears(self) -> bytes:
        """What the peer makes of what was written to it."""
        if sent := self.wire.value():
            assert len(sent) < MOST_UNASKED
            self.wire.clear()
            self.peer.bio_write(sent)
        heard = b""
        with suppress(SSL.Error):
            while True:
                heard += self.peer.recv(1 << 14)
        return heard

    def arrives(self, data: bytes) -> None:
        """In pieces."""
        size = self.size or len(data) or 1
        for at in range(0, len(data), size):
            self.stream.dataReceived(data[at : at + size])


def one(data: bytes) -> None:
    """The first octet says who we are (1: the client), by TLS 1.2 (2), without a handshake (4), in what pieces (8)."""
    if not data:
        return
    trial = _Trial(as_client=bool(data[0] & 1), older=bool(data[0] & 2), size=data[0] >> 3)
    if data[0] & 4:
        _without_handshake(trial, data[1:])
    else:
        trial.shake_hands()
        script = _Script(trial)
        for step in _steps(data[1:]):
            script.does(*step)
    assert stream._octets(stream._opened)[:] == stream._BLANK, (
        "what was given out stays in everybody's buffer"
    )
    goodbye = trial.goodbye
    trial.stream.connectionLost(Failure(ConnectionDone()))
    assert len(trial.inside.ends) == 1
    assert goodbye or trial.inside.ends != [ConnectionDone], "a cut passes for the end"


def _without_handshake(trial: _Trial, wire: bytes) -> None:
    with suppress(NotTLS, InvalidHello):
        peek(wire)
    trial.arrives(wire)
    assert not trial.inside.completed
    records, size = Records(), trial.size or len(wire) or 1
    for at in range(0, len(wire), size):
        records.feed(wire[at : at + size])
    assert records.whole == _ends_with_a_record(wire)
    assert len(trial.wire.value()) < MOST_UNASKED


def _ends_with_a_record(wire: bytes) -> bool:
    at = 0
    while len(wire) - at >= HEADER:
        at += HEADER + int.from_bytes(wire[at + 3 : at + HEADER])
    return at == len(wire)


class _Script:
    """What the peer does after the handshake, and what may be heard of it."""

    def __init__(self, trial: _Trial) -> None:
        self.trial = trial
        self.may = b""
        self.must = 0
        self.flawed = False  # nothing more may be heard
        self.unsure = False  # nothing more must be heard

    def does(self, step: int, octets: bytes) -> None:
        """One step; see `_steps`."""
        trial = self.trial
        if step == OCTETS:
            self.unsure = self.unsure or bool(octets)
            trial.arrives(octets)
        elif step == ANSWER:
            trial.stream.write(octets)
            heard = trial.peer_hears()
            assert self.flawed or self.unsure or trial.goodbye or heard == octets
        elif step == GOODBYE:
            with suppress(SSL.Error):
                trial.peer.shutdown()
            trial.arrives(trial.sealed())
            trial.goodbye = trial.goodbye or not self.flawed
        else:
            self._sends(step, octets)
        heard = trial.inside.heard
        assert self.may.startswith(heard), "what nobody has sealed, or not there"
        assert len(heard) >= self.must, "something is missing"
        assert len(trial.wire.value()) < MOST_UNASKED

    def _sends(self, step: int, plain: bytes) -> None:
        try:
            plain = plain[: self.trial.peer.send(plain)]
        except SSL.Error:  # it has said goodbye, or was told that something is wrong
            return
        record = self.trial.sealed()
        if step in (WHOLE, TWICE) and not self.flawed:
            self.may += plain
            self.must = self.must if self.unsure else len(self.may)
        self.flawed = self.flawed or step != WHOLE
        place = HEADER + plain[0] % (len(record) - HEADER)
        broken = record[:place] + bytes([record[place] ^ 1]) + record[place + 1 :]
        self.trial.arrives({WHOLE: record, BROKEN: broken, LEFT_OUT: b"", TWICE: record * 2}[step])


def _steps(script: bytes) -> Iterator[tuple[int, bytes]]:
    """Two octets each, what and how much; what is sealed is made of the second, `OCTETS` are those that follow."""
    at = 0
    while len(script) - at >= 2:
        step, much = script[at] % KINDS, script[at + 1]
        at += 2
        if step == OCTETS:
            yield step, script[at : at + much]
            at += much
        else:
            yield step, bytes([much]) * (much * 67 + 1)  # a record at most


@cache
def _context(as_client: bool, older: bool) -> SSL.Context:  # noqa: FBT001 - the key of a cache
    context = SSL.Context(SSL.TLS_CLIENT_METHOD if as_client else SSL.TLS_SERVER_METHOD)
    restrict(context)
    if older:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    if not as_client:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuzz")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        context.use_certificate(builder.sign(key, hashes.SHA256()))
        context.use_privatekey(key)
    return context

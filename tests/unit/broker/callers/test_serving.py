"""The four modes at the wired socket, and one call over a real Unix socket to a provider behind real TLS."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace

import pytest
from OpenSSL import SSL
from sqlalchemy import Engine
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance.broker.callers.serving import CallerInterface
from appliance.broker.calls.call import Call
from appliance.broker.calls.providers import Providers
from appliance.broker.database import open_database
from appliance.broker.identity.api_keys import ApiKeys
from appliance.broker.identity.jwks import PAUSE
from appliance.outgoing.deadlines import Deadlines
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.settings import CallersSettings
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import UpstreamTrust
from tests.unit.broker.callers.support import ACTED, GOOD, PROXY, START, Host
from tests.unit.broker.calls.support import SECRET, Neighbours
from tests.unit.broker.calls.test_websocket import live
from tests.unit.broker.calls.test_websocket_wired import Worker
from tests.unit.broker.identity.jwts import CLAIMS, EC, RSA, by_hand, published, token
from tests.unit.tls.chains import Origin, pem

ISSUER = {"issuer": CLAIMS["iss"], "audience": "egress", "tenant": "acme"}
NOW = int(START.timestamp())
LIVE = {"scope": "crm-api:read", "exp": NOW + 300, "iat": NOW}
PEM = EC.as_pem(private=False)


def with_key(directory: Path, database: Engine, content: bytes, **jwt: object) -> Host:
    """A host whose broker reads an issuer's key from a file."""
    (kind,) = (name for name in ("jwks_file", "public_key_file") if name in jwt)
    file = directory / kind
    file.write_bytes(content)
    return Host(database, jwt=ISSUER | jwt | {kind: str(file)})


@pytest.fixture
def by_jwt(tmp_path: Path, database: Engine) -> Host:
    return with_key(tmp_path, database, PEM, public_key_file=None, algorithms=["ES256"])


@pytest.fixture
def by_jwks(tmp_path: Path, database: Engine) -> Host:
    keys = json.dumps({"keys": [published(EC), published(RSA)]}).encode()
    return with_key(tmp_path, database, keys, jwks_file=None, algorithms=["ES256"])


@pytest.mark.parametrize("mode", ["api key", "JWT", "JWKS", "trusted peer"])
def test_002_08_four_modes_bring_actor_and_scopes_to_a_call(
    host: Host, by_jwt: Host, by_jwks: Host, mode: str
) -> None:
    bearer = f"Authorization: Bearer {token(**LIVE)}"
    at, uid, fields, principal = {
        "api key": (host, 1001, (f"Authorization: Bearer {host.key('crm-api:read')}",), "api-key:ci"),
        "JWT": (by_jwt, 1001, (bearer,), "jwt:alice"),
        "JWKS": (by_jwks, 1001, (bearer,), "jwt:alice"),
        "trusted peer": (host, PROXY, ACTED, "trusted-header:alice"),
    }[mode]
    process = at.process(uid)
    assert process.execute(*fields).octets == b""
    assert process.answered().status == 200
    assert at.neighbours.record.principal == principal
    assert f"Bearer {SECRET}".encode() in at.neighbours.sent
    refused = process.execute(*fields, method="POST", headers={"Content-Type": "application/json"}, body="{}",
                              url="https://api.example.com/data/1")  # fmt: skip
    assert (refused.status, refused.reason) == (403, "scope-missing")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (by_hand({"alg": "none"}, CLAIMS | LIVE, None), "jwt_malformed"),
        (by_hand({"alg": "none"}, CLAIMS | LIVE, None) + "AA", "jwt_algorithm"),
        (by_hand({"alg": "HS256", "kid": "ec"}, CLAIMS | LIVE, PEM), "jwt_algorithm"),
        (token(RSA, "RS256", **LIVE), "jwt_algorithm"),
        (token(**LIVE | {"exp": NOW - 31}), "jwt_expired"),
        (token(**LIVE | {"aud": "other"}), "jwt_audience"),
        (token(**LIVE | {"iss": "https://other.example"}), "jwt_issuer"),
        (token(**LIVE)[:-4] + "AAAA", "jwt_signature"),
        (token(**LIVE | {"iat": NOW + 99}), "jwt_not_yet_valid"),
    ],
    ids=["none", "none and a signature", "HS with the public key", "RS", "expired", "aud", "iss", "signature", "iat"],
)  # fmt: skip
def test_002_08_a_token_that_is_not_good_is_401_at_the_socket(
    by_jwt: Host, by_jwks: Host, bad: str, reason: str
) -> None:
    for host in (by_jwt, by_jwks):
        refused = host.process().by(bad)
        assert (refused.status, refused.reason) == (401, reason)
        assert b'WWW-Authenticate: Bearer error="invalid_token"' in refused.head
        assert host.audit.records[-1].reason == reason
        assert bad not in repr(host.audit.records)
        assert not host.neighbours.log


def test_002_08_an_unknown_key_id_is_refused_and_a_set_that_is_gone_is_503(
    by_jwks: Host, tmp_path: Path
) -> None:
    stranger = token(**LIVE, header={"kid": "other"})
    assert by_jwks.process().by(stranger).reason == "jwt_key_unknown"
    (tmp_path / "jwks_file").unlink()
    refused = by_jwks.process().by(token(**LIVE))
    assert (refused.status, refused.reason) == (503, "jwt_keys_unavailable")


def test_002_08_a_key_set_is_fetched_over_a_worker_when_it_is_needed_and_not_for_each_call(
    database: Engine,
) -> None:
    url = "https://issuer.example/keys"
    host = Host(database, jwt=ISSUER | {"algorithms": ["ES256"], "jwks_url": url})
    assert host.own == []
    refused = host.process().by(token(**LIVE))
    assert (refused.status, refused.reason) == (503, "jwt_keys_unavailable")
    assert host.audit.records[-1].reason == "jwt_keys_unavailable"
    host.published = (200, json.dumps({"keys": [published(EC)]}).encode())
    host.clock.advance(PAUSE)
    process = host.process()
    for _ in range(2):
        process.by(token(**LIVE))
        assert process.answered().status == 200
    assert process.by(token(**LIVE, header={"kid": "other"})).reason == "jwt_key_unknown"
    assert host.own == [(3, "@platform", "GET", url)] * 2
    assert not process.by(token(RSA, "RS256", **LIVE)).octets.startswith(b"HTTP/1.1 2")


def test_002_08_a_mode_that_is_not_configured_accepts_nobody(host: Host, database: Engine) -> None:
    assert host.process().by(token(**LIVE)).reason == "jwt_malformed"
    closed = Host(database, trusted=None)
    assert closed.process(PROXY).execute(*ACTED).reason == "unauthenticated"


class AnyAddress(TenantPolicy):
    """A policy that has nothing against loopback."""

    def judge_address(self, host, port, address):
        return Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "test", "")


class Provider(Protocol):
    """Answers each request with what it was sent."""

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def handshakeCompleted(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
        )

    def connectionLost(self, reason) -> None:
        pass


class OverRealSockets(TestCase):
    """A process of this host, its kernel's word on it, the broker's parts wired, and TLS with a provider."""

    async def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        place = Path(directory.name)
        origin = Origin()
        bundle = place / "bundle.pem"
        bundle.write_text(pem(origin.ca))
        context: SSL.Context = origin.context(origin.certificate("ok.example"))
        self.heard: list[bytes] = []
        heard = self.heard

        class Providing(ServerFactory):
            def buildProtocol(self, addr):
                connection = SSL.Connection(context, None)
                connection.set_accept_state()
                return TLSStream(connection, Provider(heard), server=True)

        port = reactor.listenTCP(0, Providing(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number, loopback = port.getHost().port, IPv4Address("127.0.0.1")

        class Dials:
            async def find(self, *_, **__):
                return (loopback,)

            async def dial(self, *_, **__):
                return await deferToThread(socket.create_connection, ("127.0.0.1", number)), loopback

        n = self.neighbours = Neighbours()
        n.policy = AnyAddress("acme", "one", profile=Profile.READ_ONLY_WEB, bound=live(host="ok.example"))
        deadlines = Deadlines(reactor)
        deadlines.start()
        self.addCleanup(deadlines.stop)
        self.providers = Providers(reactor, Dials(), UpstreamTrust(bundle), deadlines)
        calls = SimpleNamespace(
            means=replace(n.means, providers=self.providers, deadlines=deadlines),
            dials=SimpleNamespace(any_worker=lambda: 0), requests=None,
            begin_call=lambda connection, attestation, head, means: Call(
                means, connection, attestation, head
            ),
        )  # fmt: skip
        self.database = open_database(f"sqlite:///{place / 'broker.db'}")
        self.addCleanup(self.database.dispose)
        self.interface = CallerInterface(
            reactor, CallersSettings(), self.database, calls, policy=n.means.policy, audit=n.audit,
            in_thread=deferToThread, now=lambda: START,
        )  # fmt: skip
        self.interface.start()
        path = str(place / "callers.sock")
        listening = reactor.listenUNIX(path, self.interface.connections)
        self.addCleanup(listening.stopListening)
        self.process = Worker()
        await UNIXClientEndpoint(reactor, path).connect(Factory.forProtocol(lambda: self.process))
        self.addCleanup(self.quiet)

    async def quiet(self) -> None:
        self.process.transport.loseConnection()
        self.interface.stop()
        self.providers.close()
        await deferLater(reactor, 0.1)

    def execute(self, *fields: str) -> None:
        body = json.dumps(GOOD | {"url": "https://ok.example/data/1"}).encode()
        lines = [
            "POST /execute HTTP/1.1", "Host: broker.egress.internal", "Content-Type: application/json",
            f"Content-Length: {len(body)}", *fields, "", "",
        ]  # fmt: skip
        self.process.transport.write("\r\n".join(lines).encode() + body)

    async def test_002_07_002_22_a_key_makes_a_call_and_its_answer_comes_back_searched(self) -> None:
        key = ApiKeys(self.database).create("acme", "ci", frozenset({"crm-api:write"}), START).text
        self.execute(f"Authorization: Bearer {key}")
        await self.process.until(b"[scrubbed:secret]")
        assert self.process.read.startswith(b"HTTP/1.1 200 ")
        assert f"authorization: Bearer {SECRET}".encode() in b"".join(self.heard)
        assert SECRET.encode() not in self.process.read
        assert key.encode() not in b"".join(self.heard)
        (record,) = self.neighbours.audit.records
        assert (record.principal, record.source) == ("api-key:ci", f"uid:{os.getuid()}")
        assert record.upstream_address == "127.0.0.1"

    async def test_002_07_002_23_without_one_nobody_is_asked_whatever_the_fields_say(self) -> None:
        self.execute(*ACTED)
        await self.process.until(b"unauthenticated")
        assert self.process.read.startswith(b"HTTP/1.1 401 ")
        assert self.heard == []
        (record,) = self.neighbours.audit.records
        assert (record.event, record.subject) == ("caller-refused", f"uid:{os.getuid()}")

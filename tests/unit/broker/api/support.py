"""The broker's interface in one process: a worker's end of its socket, and a workload's TLS over it."""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from types import SimpleNamespace

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from sqlalchemy import Engine
from twisted.internet.task import Clock

from appliance.broker.api.listener import WorkloadConnection
from appliance.broker.api.serving import Interface
from appliance.broker.calls.call import Call
from appliance.broker.dpop.nonce_key import shared_nonce_key
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.handles import Handles
from appliance.broker.identities import open_identities
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.workloads import Attestation as Attested
from appliance.endpoints import Endpoint, EndpointTable
from appliance.policy.tenant import TenantPolicy
from appliance.tls.authority import new_key
from tests.unit.broker.calls.support import ATTESTED, Neighbours, account, policy_of
from tests.unit.broker.identity.peers import csr, make_root
from tests.unit.gateway.support import ENDPOINT, Log, Wire

UID = 64101
LINK = replace(ATTESTED, account="", request_id="t-1")
OTHER = Endpoint("e2", "n1", "acme", IPv4Address("172.18.0.3"), "t-e2", 8, container="c2")
BEARER = "Authorization: Bearer "


def now() -> datetime:
    return datetime.now(UTC)


async def in_thread(function, *arguments):
    return function(*arguments)


class FromWorker(Wire):
    """A Unix socket whose peer has a uid."""

    uid = UID
    pid = os.getpid()

    def getHandle(self):
        return self

    def getsockopt(self, level, name, size=0):
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", self.pid, self.uid, self.uid)


class Broker:
    """Its database and policy are real; `audit` remembers."""

    def __init__(self, database_url: str) -> None:
        self.root = make_root()
        self.identities = open_identities(database_url, self.root, now)
        self.clock = Clock()
        self.audit = Log()
        self.policies = {"acme": policy_of(account())}
        self.feed = SimpleNamespace(ready=True, table=EndpointTable())
        self.feed.table.replace([ENDPOINT, OTHER])
        self.neighbours = Neighbours()
        self.handles = Handles(self.clock)
        self.over: set[str] = set()
        self.calls = SimpleNamespace(
            secrets=self.neighbours, handles=self.handles, is_over=self.over.__contains__,
            begin_call=lambda *request: Call(self.neighbours.means, *request),
        )  # fmt: skip
        self.interface = self.wired()
        self.interface.start()

    def wired(self, *listed: str) -> Interface:
        """With `listed`, only for workloads from there."""
        return Interface(
            self.clock, UID, self.identities, self.feed, self.calls, policy=self.policy, audit=self.audit,
            in_thread=in_thread, now=now, addresses=AddressAllowlist.parse(listed) if listed else None,
        )  # fmt: skip

    def policy(self, tenant: str) -> TenantPolicy:
        return self.policies.get(tenant) or TenantPolicy(tenant)

    def close(self) -> None:
        self.interface.stop()
        self.identities.close()

    def workload(self, endpoint: str = ENDPOINT.id, container: str = "c1") -> Client:
        """A workload with a certificate of its own."""
        key = new_key()
        issued = self.identities.certificates.issue(csr(key), Attested(endpoint, "acme", container))
        client = Client(self, key, [issued.certificate, issued.issuer])
        known = self.feed.table.get(endpoint)
        assert known is not None
        client.link = replace(LINK, endpoint=endpoint, container=container, source=f"{known.address}:40000")
        return client

    def nonce(self, uri: str) -> str:
        nonces = Nonces(shared_nonce_key(self.identities.engine))
        return nonces.accepted("acme", uri, int(now().timestamp()))[0]

    @property
    def database(self) -> Engine:
        return self.identities.engine

    @property
    def events(self) -> list[str]:
        return [getattr(record, "event", record.kind.value) for record in self.audit.records]


class Client:
    """A workload's TLS; `link` is what the worker attests."""

    def __init__(self, broker: Broker, key=None, chain: list[x509.Certificate] | None = None) -> None:
        self.broker = broker
        self.link = LINK
        self.key, self.chain = key, chain or []
        self.tls: SSL.Connection | None = None

    def connect(self) -> None:
        """Until the handshake is over on both sides, or refused."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.get_cert_store().add_cert(X509.from_cryptography(self.broker.root.certificate))
        context.set_verify(SSL.VERIFY_PEER, lambda *found: bool(found[-1]))
        if self.chain:
            context.use_certificate(self.chain[0])
            for one in self.chain[1:]:
                context.add_extra_chain_cert(one)
            context.use_privatekey(self.key)
        self.tls = SSL.Connection(context, None)
        self.tls.set_tlsext_host_name(b"broker.egress.internal")
        self.tls.set_connect_state()
        self.wire = FromWorker()
        self.connection: WorkloadConnection = self.broker.interface.connections.buildProtocol(None)
        self.connection.makeConnection(self.wire)
        self.connection.dataReceived(self.link.line())
        for _ in range(4):
            with suppress(SSL.WantReadError):
                self.tls.do_handshake()
            self._carry()

    def _carry(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self.connection.dataReceived(self.tls.bio_read(1 << 16))
        said = self.wire.value()
        self.wire.clear()
        if said:
            self.tls.bio_write(said)

    def say(self, octets: bytes) -> bytes:
        """What comes back."""
        if self.tls is None:
            self.connect()
        self.tls.sendall(octets)
        return self.hear()

    def hear(self) -> bytes:
        """What has come by now."""
        self._carry()
        heard = b""
        with suppress(SSL.WantReadError, SSL.ZeroReturnError):
            while True:
                heard += self.tls.recv(1 << 16)
        return heard

    def ask(
        self, line: str, *fields: str, body: object = None, host: str = "broker.egress.internal"
    ) -> Answer:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{line} HTTP/1.1", f"Host: {host}", *fields]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        return Answer(self.say("\r\n".join([*lines, "", ""]).encode() + raw))

    def session(self, **wish) -> str:
        """A token."""
        answer = self.ask("POST /v1/session", body={"ttl": 600} | wish)
        assert answer.status == 201, answer.text
        return answer.json["token"]


class Answer:
    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.head, _, self.body = octets.partition(b"\r\n\r\n")
        self.status = int(self.head[9:12] or b"0")

    @property
    def text(self) -> str:
        return self.octets.decode()

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        assert b"application/problem+json" in self.head, self.octets
        return self.json["reason"]

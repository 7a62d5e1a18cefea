"""A broker's calls with recorders in the place of its neighbours: worker, vault, providers, netd."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.broker.calls.call import Call
from appliance.broker.calls.connection import CallConnection
from appliance.broker.calls.means import Means
from appliance.broker.credentials.inject import inject
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.vault import Stored
from appliance.endpoints import EndpointTable
from appliance.handover import Attestation
from appliance.outgoing.deadlines import Deadlines
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from appliance.policy.body_schema import BodySchema
from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.rules import AllowRule
from appliance.policy.slot import Slot
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from tests.unit.gateway.support import ENDPOINT, PUBLIC, Log, Wire

SECRET = "Zr8-canary-3fJ1x9QwLm0TbVnY"
HANDLE = "hb_cred_" + "A" * 32
DEAD = "hb_cred_" + "B" * 32
SESSION = "s-live-token"
STORED = Stored(1, b"d" * 32)
ATTESTED = Attestation(
    "id-1", "acme", ENDPOINT.id, "c1", "run-1", "172.18.0.2:40000", 0, "crm", "one", 443, ""
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
SCHEMA = {
    "type": "object",
    "required": ["title"],
    "properties": {"title": {"type": "string"}},
    "additionalProperties": False,
}


def account(
    slot: Slot | None = None,
    schema: dict | None = None,
    content_type: str = "application/json",
    most: int = 64,
) -> Bound:
    where = HostPattern.of("api.example.com")
    groups = {
        "read": CompiledGroup("read", slot or Slot(style="bearer"), "read"),
        "write": CompiledGroup(
            "write", slot or Slot(style="bearer"), "write", (), schema and BodySchema(schema)
        ),
    }
    rules = []
    for name, methods, types in (("read", {"GET", "HEAD"}, ()), ("write", {"POST"}, (content_type,))):
        verdict = Verdict(
            Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts[0]", "", account="crm", group=name
        )
        rules.append((where, AllowRule(
            "accounts[0]", frozenset({("https", 443)}), frozenset(methods), (PathPattern.parse("/data/**"),),
            frozenset({"page"}), frozenset(types), False, most, verdict, repeatable=frozenset(),
        )))  # fmt: skip
    compiled = CompiledAccount(
        "crm", "crm-api", "CRM", "crm-key", frozenset({"static"}), (where,), 443, groups, "accounts[0]",
        reference_scheme="agentsecrets",
    )  # fmt: skip
    return Bound.of([compiled], rules)


def policy_of(bound: Bound | None = None) -> TenantPolicy:
    return TenantPolicy("acme", "one", profile=Profile.READ_ONLY_WEB, bound=bound)


class Held:
    stored = STORED

    def __init__(self, log: list) -> None:
        self.material = StaticSecret(kind="static", value=SECRET)
        self._log = log
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        self._log.append("secret cleared")


class Neighbours:
    """Everything that a call speaks to; `log` has what happened, in order."""

    def __init__(self, bound: Bound | None = None) -> None:
        self.log: list[str] = []
        self.clock = Clock()
        self.audit = Log()
        self.endpoints = EndpointTable()
        self.endpoints.replace([ENDPOINT])
        self.policy = policy_of(account() if bound is None else bound)
        self.addresses: tuple[IPv4Address, ...] = (PUBLIC,)
        self.found_under: TenantPolicy | None = None
        self.killed: list[tuple] = []
        self.held: list[Held] = []
        self.rested: list[Upstream] = []
        self.upstreams: list[Upstream] = []
        self.refuses: Exception | None = None
        self.waits: Deferred | None = None
        self.worker = Wire()
        deadlines = Deadlines(self.clock)
        deadlines.start()
        self.means = Means(
            policy=lambda tenant: self.policy if tenant == "acme" else TenantPolicy(tenant),
            endpoints=self.endpoints, secrets=self, inject=self.inject, scrubbing=Scrubber,
            providers=self, kill=self.kill, audit=self.audit, deadlines=deadlines,
        )  # fmt: skip
        self.connection = CallConnection(0, lambda *found: Call(self.means, *found))
        self.connection.transport = self.worker

    # Providers.

    async def find(self, attestation, host, port, *, policy=None):
        self.log.append(f"find {host} {port}")
        self.found_under = policy
        return self.addresses

    async def connect(self, attestation, host, port, addresses, *, fresh=False, own=None):
        self.log.append(f"connect {host}" if own is None else f"connect {host} as {own}")
        if self.refuses:
            raise self.refuses
        if self.waits is not None:
            await self.waits
        upstream = Upstream(Key("acme", False, host, port), addresses[0], self.rested.append)
        upstream.makeConnection(Wire())
        self.upstreams.append(upstream)
        return upstream

    # Secrets.

    async def of_account(self, attestation, bound_account):
        self.log.append(f"decrypt {bound_account.secret}")
        held = Held(self.log)
        self.held.append(held)
        return held

    def of_handle(self, attestation, bound_account, handle):
        if handle != HANDLE:
            return None
        held = Held(self.log)
        self.held.append(held)
        return held

    async def is_session(self, attestation, bound_account, token):
        return token == SESSION

    async def inject(self, attestation, allowed, revealed, outgoing):
        self.log.append("inject")
        return await inject(revealed.material, allowed.group.slot, outgoing, None, None, None)

    def kill(self, attestation, reason, why):
        self.log.append("kill")
        self.killed.append((attestation.endpoint, reason, why))

    # What a test does.

    def call(self, head: str, body: bytes = b"", **attested) -> None:
        attestation = replace(ATTESTED, **attested)
        self.connection.dataReceived(
            attestation.line() + head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body
        )

    def get(self, path: str = "/data/1", *lines: str, **attested) -> None:
        self.call("\n".join([f"GET {path} HTTP/1.1", "Host: api.example.com", *lines]), **attested)

    def post(self, body: bytes, *lines: str) -> None:
        length = f"Content-Length: {len(body)}"
        head = [
            "POST /data/1 HTTP/1.1",
            "Host: api.example.com",
            "Content-Type: application/json",
            length,
            *lines,
        ]
        self.call("\n".join(head), body)

    def answer(self, data: bytes = ANSWER) -> None:
        self.upstreams[-1].dataReceived(data)

    @property
    def sent(self) -> bytes:
        """What the provider got."""
        return b"".join(upstream.transport.value() for upstream in self.upstreams)

    @property
    def said(self) -> bytes:
        """What the worker got."""
        return self.worker.value()

    @property
    def record(self):
        (record,) = self.audit.records
        return record

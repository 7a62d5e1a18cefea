"""A session whose requests an integration account carries, and a broker that only remembers."""

from __future__ import annotations

from appliance.gateway.handing_over import key
from appliance.outgoing.upstream import Upstream
from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.rules import AllowRule
from appliance.policy.slot import Slot
from appliance.policy.verdict import Outcome, Reason, Verdict

from .support import Wire, web_policy
from .test_session import Talk


class Broker:
    """Stands in for `handing_over.Broker`; `wires` are the connections to it, each with its `protocol`."""

    number = 3

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    async def connect(self, tenant, idle, made):
        upstream = Upstream(key(tenant), None, idle)
        made(upstream)
        wire = Wire()
        wire.protocol = upstream
        upstream.makeConnection(wire)
        self.wires.append(wire)
        return upstream


def bound(*, upgrade: str | None = None, subprotocols: tuple[str, ...] = ()) -> Bound:
    """The account `crm`, for plain HTTP: what is asked is the same, and no TLS is in the way."""
    where = HostPattern.of("site.net")
    verdict = Verdict(
        Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts[0]", "", upgrade=upgrade, account="crm",
        group="all",
    )  # fmt: skip
    rule = AllowRule(
        "accounts[0]", frozenset({("http", 80)}), frozenset({"GET"}), (PathPattern.parse("/**"),), None,
        frozenset(), False, 1 << 20, verdict, upgrade=upgrade, subprotocols=frozenset(subprotocols),
    )  # fmt: skip
    account = CompiledAccount(
        "crm", "crm-api", "CRM", "crm-key", frozenset({"static"}), (where,), 80,
        {"all": CompiledGroup("all", Slot(style="bearer"), "read")}, "accounts[0]",
    )  # fmt: skip
    return Bound.of([account], [(where, rule)])


class Carried(Talk):
    """`broker` is spoken to in place of servers."""

    def __init__(self, **options) -> None:
        self.broker = Broker()
        super().__init__(policy=web_policy(bound=bound(**options)), broker=self.broker)

    def server(self) -> Wire:
        """The newest connection to the broker."""
        return self.broker.wires[-1]

"""A gateway worker as a process of its own on loopback, with stand-ins for netd and resolver.

Real: the worker, its sockets, TLS both ways, the policy's evaluator, the audit log. Stood in for: who holds
which source address, which name has which address, which port an origin listens on (80 and 443 are the
worker's own here), and the verdict on loopback addresses, which the real policy can never except.

Reads one JSON object from stdin, prints one JSON line when it listens, obeys lines of JSON on stdin after that.
"""

# ruff: noqa: E402 - the reactor is installed before anything imports it

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from appliance import reactor as prompt

prompt.install()

from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver

from appliance.audit.log import AuditUnavailable
from appliance.audit.sink import Sink
from appliance.endpoints import Endpoint, EndpointTable
from appliance.gateway.connection import Connections
from appliance.gateway.dial import Direct
from appliance.gateway.limits import Limits
from appliance.gateway.uplink_proxy import ThroughProxy
from appliance.gateway.worker import Neighbours, Worker
from appliance.policy.caps import Caps
from appliance.policy.compile import OperatorLayer, compile_tenant
from appliance.policy.limits import ScopeLimits, TenantLimits
from appliance.policy.rules import RuleIndex
from appliance.policy.set import PolicySet
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.resolver.client import Resolved, Unresolved
from appliance.telling import Bounds
from appliance.tls.authority import issue_intermediate, issue_root, new_key, signing_request
from appliance.tls.intermediate import Intermediate
from appliance.tls.leaf import LeafCache
from appliance.tls.upstream import UpstreamTrust
from appliance.yamldoc import loads

WIDE = ScopeLimits(10**9, 10**9, 10**9, 2**60, 2**60)
SINGLY = {"told": Bounds(10**6, 10**6, 10**6)}
"""Every refusal has a record of its own: the tests count them."""


class LoopbackPolicy(TenantPolicy):
    """The real evaluator, except that 127/8 counts as public but for addresses ending in .66."""

    posting: frozenset[str] = frozenset()

    def judge(self, facts):
        if facts.method == "POST" and str(facts.host) in self.posting:
            return Verdict(
                Outcome.ALLOW, Reason.ALLOWED_BY_RULE, "test", "", max_body=self.caps.request_body_bytes
            )
        return super().judge(facts)

    def judge_address(self, host, port, address):
        if address.packed[0] == 127 and address.packed[3] != 66:
            return Verdict(Outcome.ALLOW, Reason.PUBLIC_ADDRESS, "test", "")
        return Verdict(Outcome.DENY, Reason.PRIVATE_ADDRESS, "address table", f"{address} is not public.")


class Names:
    """The resolver's stand-in; counts what it is asked."""

    def __init__(self, names):
        self.names = names
        self.asked = []

    async def resolve(self, tenant, name, account=None, *, endpoint=None):
        self.asked.append(name.text)
        if name.text not in self.names:
            raise Unresolved("name-does-not-exist", f"{name} does not exist")
        return Resolved(tuple(map(IPv4Address, self.names[name.text])), 60)

    async def pinned(self, tenant, name, address, *, endpoint=None):
        self.asked.append(name.text)
        return str(address) in self.names.get(name.text, ())


class Connector:
    """connectTCP with other ports; counts what is dialled."""

    def __init__(self, ports):
        self.ports = ports
        self.dialled = []
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater

    def connectTCP(self, host, port, factory, timeout=30, bindAddress=None):
        self.dialled.append(f"{host}:{port}")
        return reactor.connectTCP(host, self.ports.get(str(port), port), factory, timeout, bindAddress)


class OnLoopback(EndpointTable):
    """There are no links here, so no connection bears a mark: the address tells who connects."""

    def on_link(self, address, mark):
        assert mark == 0
        return self._by_address.get(address)


class Process:
    def __init__(self, config):
        now = datetime.now(UTC)
        root_key, key = new_key(), new_key()
        root = issue_root(root_key, "test", now)
        leaves = LeafCache()
        leaves.install(
            Intermediate(key, issue_intermediate(root, root_key, signing_request(key), "test", now), root)
        )
        self.root_pem = root.public_bytes(Encoding.PEM)
        self.config = config
        self.names = Names(config["names"])
        self.connector = Connector(config["ports"])
        self.table = OnLoopback()
        self.table.replace([
            Endpoint(f"endpoint-{i}", "network", tenant, IPv4Address(address), f"t-{i}", i + 1, f"container-{i}")
            for i, (address, tenant) in enumerate(config["tenants"].items())
        ])  # fmt: skip
        self.policies = self.policy_set({})
        self.sink = Sink(Path(config["audit"]), "gateway-0")
        if config.get("audit_full"):
            self.sink._make_room = self.no_room
        self.worker = Worker(
            Neighbours(
                reactor=reactor,
                endpoints=self.table,
                policies=lambda: self.policies,
                resolver=self.names,
                audit=self.sink,
                leaves=leaves,
                upstream_tls=UpstreamTrust(Path(config["upstream_ca"])),
                root_pem=lambda: self.root_pem,
                connector=self.connector,
                way=self.through(**config["proxy"]) if "proxy" in config else Direct,
            ),
            Limits(**SINGLY | config.get("limits", {})),
        )
        self.worker.deadlines.start()
        for address, port in config["listen"]:
            reactor.listenTCP(port, Connections(self.worker), interface=address)

    def through(self, address, port):
        return lambda connector, limits: ThroughProxy(connector, limits, (IPv4Address(address), port))

    def no_room(self):
        raise AuditUnavailable("no space left")

    def policy_set(self, change):
        tenants = {}

        def setting(key, default):
            return change.get(key, self.config.get(key, default))

        LoopbackPolicy.posting = frozenset(setting("posting", []))
        for tenant in set(self.config["tenants"].values()):
            policy = LoopbackPolicy(
                tenant,
                change.get("generation", "one"),
                Caps(**self.config.get("caps", {})),
                limits=self.limits(tenant),
                profile=Profile(change.get("profile", "read-only-web")),
                own=self.rules(setting("rules", None)),
                passthrough={(name, 443): "operator.yaml:1" for name in setting("passthrough", [])},
            )
            tenants[tenant] = policy
        return PolicySet(tenants, change.get("generation", "one"))

    def rules(self, text):
        """Written as in a tenant's document."""
        if text is None:
            return None
        layer, problems = compile_tenant(loads(text.encode(), "acme.yaml"), "acme", OperatorLayer(), {})
        assert layer is not None, problems
        return RuleIndex(layer.entries)

    def limits(self, tenant):
        """So wide that only a test of limits meets them: `scopes` holds the narrow ones, by tenant and scope."""
        narrow = self.config.get("scopes", {}).get(tenant, {})
        wide = {
            scope: replace(WIDE, **narrow.get(scope, {})) for scope in ("container", "tenant", "destination")
        }
        return TenantLimits(**wide, tunnel_seconds=self.config.get("tunnel_seconds", 21600))

    def command(self, message):
        match message["op"]:
            case "policy":
                self.policies = self.policy_set(message)
                self.worker.policy_changed()
            case "remove-endpoint":
                change = self.table.update([], [message["id"]])
                for endpoint in change.removed:
                    self.worker.endpoint_removed(endpoint)
            case "drain":
                self.worker.drain().addCallback(lambda _: print(json.dumps({"drained": True}), flush=True))
                return {}
            case "forget":
                self.names.asked.clear()
                self.connector.dialled.clear()
                self.worker.pool.close()
                self.worker.routes._kept.clear()
            case "profile":
                self.profile(message)
        return {
            "dialled": self.connector.dialled,
            "asked": self.names.asked,
            "connections": self.worker.connections,
            "requests": self.worker.requests,
            "pooled": len(self.worker.pool),
        }

    def profile(self, message):
        import cProfile

        if message["on"]:
            self._profile = cProfile.Profile()
            self._profile.enable()
        else:
            self._profile.disable()
            self._profile.dump_stats(message["file"])


class Commands(LineOnlyReceiver):
    delimiter = b"\n"
    process = None

    def lineReceived(self, line):
        message = json.loads(line)
        if self.process is None:
            self.process = Process(message)
            self.answer({"ready": True, "root": self.process.root_pem.decode()})
        else:
            answer = self.process.command(message)
            if answer:
                self.answer(answer)

    def answer(self, message):
        self.sendLine(json.dumps(message).encode())

    def connectionLost(self, reason=None):
        if reactor.running:
            reactor.stop()


if __name__ == "__main__":
    from twisted.logger import globalLogBeginner, textFileLogObserver

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    StandardIO(Commands())
    reactor.run()

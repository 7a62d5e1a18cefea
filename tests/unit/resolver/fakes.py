"""Recorder fakes for the resolver's neighbours."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

import dns.message
import dns.rdatatype
from twisted.internet.defer import Deferred

from appliance.addresses import classify
from appliance.audit.log import AuditUnavailable
from appliance.names import HostName
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.policy.set import PolicySet
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.resolver.outcome import Found

PUBLIC = IPv4Address("93.184.216.34")
PUBLIC_TOO = IPv4Address("1.1.1.1")
PRIVATE = IPv4Address("10.0.1.5")
METADATA = IPv4Address("169.254.169.254")


class FakePolicy:
    """Allows every name but those below `denied` (by rule) and `operator` (by the operator)."""

    limits = DEFAULT_LIMITS

    def __init__(self, tenant="acme", denied=(), operator=(), excepted=()):
        self.tenant = tenant
        self.excepted = [IPv4Network(network) for network in excepted]
        self.denied = denied
        self.operator = operator

    def judge_name(self, host):
        def below(names):
            return any(host.text == name or host.text.endswith("." + name) for name in names)

        if below(self.operator):
            return Verdict(Outcome.DENY, Reason.HOST_DENIED_BY_OPERATOR, "operator.yaml:4 deny[0]", "Denied.")
        if below(self.denied):
            return Verdict(Outcome.DENY, Reason.HOST_NOT_LISTED, "profile allowlist", "Not listed.")
        if below(("internal",)):
            return Verdict(Outcome.DENY, Reason.NAME_NOT_PUBLIC, "names", "Not public.")
        return Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_PROFILE, "profile read-only-web", "Allowed.")

    def judge_address(self, host, port, address):
        assert port is None
        kind = classify(address)
        if kind.is_public or any(address in network for network in self.excepted):
            return Verdict(Outcome.ALLOW, Reason.PUBLIC_ADDRESS, "address table", "Public.")
        detail = f"{host} leads to {address}, which is {kind.kind}."
        return Verdict(Outcome.DENY, Reason.PRIVATE_ADDRESS, "address table", detail)


class Policies:
    """A replaceable policy set; tenants `acme` and `other` allow all but *.denied.example."""

    def __init__(self):
        self.set(FakePolicy("acme", denied=("denied.example",)), FakePolicy("other"))

    def set(self, *policies):
        self.current = PolicySet({policy.tenant: policy for policy in policies}, "g1")

    def __call__(self):
        return self.current


class FakeUpstream:
    """Answers from `answers` (name → result or list of results) at once, or holds questions back."""

    def __init__(self):
        self.asked = []
        self.answers = {}
        self.held = None

    def hold(self):
        self.held = []

    def release(self, result):
        held, self.held = self.held, None
        for deferred in held:
            deferred.callback(result)

    async def query(self, name):
        self.asked.append(name.text)
        if self.held is not None:
            deferred = Deferred()
            self.held.append(deferred)
            return await deferred
        answer = self.answers.get(name.text, Found((PUBLIC,), (), 60))
        return answer.pop(0) if isinstance(answer, list) else answer


class FakeClaim:
    def __init__(self, audit):
        self.audit = audit
        self.open = True

    def write(self, record):
        if self.open:
            self.open = False
            self.audit.open -= 1
            self.audit.records.append(record)

    def release(self):
        if self.open:
            self.open = False
            self.audit.open -= 1


class FakeAudit:
    def __init__(self):
        self.ready = True
        self.open = 0
        self.records = []

    def claim(self):
        if not self.ready:
            raise AuditUnavailable("the disk is full")
        self.open += 1
        return FakeClaim(self)

    def write(self, record):
        self.claim().write(record)


def name(text):
    return HostName.parse(text)


_ids = itertools.count(1)


def question(text, kind="A", **options):
    """A query's bytes."""
    options.setdefault("use_edns", 0)
    return dns.message.make_query(text, kind, id=next(_ids), **options).to_wire()


def finished(coroutine):
    """The result of a coroutine that needs no waiting."""
    results = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(results.append)
    assert results, "still waiting"
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def addresses_of(rrset):
    """The addresses of an A record set, none for a set of another type."""
    if rrset.rdtype != dns.rdatatype.A:
        return ()
    return tuple(IPv4Address(record.address) for record in rrset)

"""The integration accounts of one tenant, compiled: which hosts they cover, and what goes to these hosts.

A host that an account covers is the account's alone, by https on its port: what fits none of its groups is
denied, whatever the profile or another rule would say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from appliance.policy.body_schema import BodySchema
from appliance.policy.hosts import HostPattern, same_registrant
from appliance.policy.rules import AllowRule, Bucket, RuleIndex
from appliance.policy.slot import SecretKind, Slot


@dataclass(frozen=True, slots=True)
class CompiledGroup:
    """One path group of an account: where the secret goes in its requests, and what else holds for them.

    `risk` is read, write or destructive; `body` None: any content of the allowed types.
    """

    name: str
    slot: Slot
    risk: str
    scopes: tuple[str, ...] = ()
    body: BodySchema | None = None


@dataclass(frozen=True, slots=True)
class CompiledAccount:
    """A definition bound to a tenant: hosts, groups by name, and the name of the secret in the vault.

    `kinds` are those of secrets that fit. `base_host` is where `/<base_url>/…` leads in base-URL mode. A
    reference `<reference_scheme>://NAME` may stand in the slot; None: none may. `streamed` are media types
    of answers that are scrubbed as they come. `token_hosts` are host (canonical text) and port of where the
    secret is exchanged for a token: nobody but the broker is connected there for the account.
    """

    name: str
    integration: str
    title: str
    secret: str
    kinds: frozenset[SecretKind]
    hosts: tuple[HostPattern, ...]
    port: int
    groups: Mapping[str, CompiledGroup]
    label: str
    base_url: str | None = None
    base_host: str | None = None
    reference_scheme: str | None = None
    streamed: frozenset[str] = frozenset()
    token_hosts: frozenset[tuple[str, int]] = frozenset()

    def covers(self, host: str, port: int) -> bool:
        """Whether requests by https to `host` (canonical text) and `port` are this account's."""
        return port == self.port and any(_speaks(pattern, host) for pattern in self.hosts)


@dataclass(frozen=True, slots=True)
class Bound:
    """All accounts of a tenant, by name, and their groups' rules by host."""

    accounts: Mapping[str, CompiledAccount] = field(default_factory=lambda: MappingProxyType({}))
    rules: RuleIndex = field(default_factory=RuleIndex)

    @classmethod
    def of(
        cls, accounts: Iterable[CompiledAccount], entries: Iterable[tuple[HostPattern, AllowRule]]
    ) -> Bound:
        """The accounts, with the rules that their groups were compiled to."""
        return cls(MappingProxyType({a.name: a for a in accounts}), RuleIndex(entries))

    def find(self, host: str) -> list[Bucket]:
        """Rules about `host`. A wildcard ends where strangers may register names below it."""
        exact, below = self.rules.find_apart(host)
        found = [exact] if exact is not None else []
        return found + [bucket for suffix, bucket in below if same_registrant(host, suffix)]

    def covered(self) -> Iterator[tuple[HostPattern, int]]:
        """Hosts and ports that belong to accounts, by https."""
        for account in self.accounts.values():
            for pattern in account.hosts:
                yield pattern, account.port


def _speaks(pattern: HostPattern, host: str) -> bool:
    if not pattern.below:
        return host == pattern.name
    return host.endswith(f".{pattern.name}") and same_registrant(host, pattern.name)

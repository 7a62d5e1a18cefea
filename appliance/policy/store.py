"""The policies in force in a running process: the last good ones, whatever becomes of their documents."""

from __future__ import annotations

from collections.abc import Callable, Generator

from appliance.policy.compile import OperatorLayer
from appliance.policy.compile_account import AccountsLayer
from appliance.policy.files import Readings
from appliance.policy.hosts import public_suffixes
from appliance.policy.loader import Kept, assemble, loading
from appliance.policy.problems import PolicyError, Problem, Severity, errors
from appliance.policy.set import PolicySet
from appliance.settings import Settings
from appliance.stepwise import finish, letting_go


class PolicyStore:
    """The policy in force. A document with errors changes nothing: the last good one stays, under the
    operator's newest layer; a tenant whose document was never good has none, and is denied everything.
    """  # noqa: D205 - one thought

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readings = Readings()
        self._operator: tuple[OperatorLayer, bytes] | None = None
        self._accounts: AccountsLayer | None = None
        self._tenants: dict[str, Kept] = {}
        self._listeners: list[Callable[[PolicySet], object]] = []
        self.current = PolicySet()
        self.last_error: PolicyError | None = None
        self.warnings: tuple[Problem, ...] = ()
        public_suffixes()  # so that no reload reads them

    def listen(self, changed: Callable[[PolicySet], object]) -> None:
        """Call `changed` with each new set (not with the current one)."""
        self._listeners.append(changed)

    def reload(self) -> PolicySet:
        """Read what has changed; never raises for a bad document, see `last_error`."""
        return finish(self.reloading())

    def reloading(self) -> Generator[None, None, PolicySet]:
        """The same in steps; one at a time."""
        loaded = yield from loading(self._settings, self._readings, self._operator, self._accounts)
        found = errors(loaded.problems)
        self.last_error = PolicyError(found) if found else None
        self.warnings = tuple(p for p in loaded.problems if p.severity is Severity.WARNING)
        if loaded.operator is None:
            return self.current
        self._operator, self._accounts = loaded.operator, loaded.accounts
        kept = {name: new or self._tenants.get(name) for name, new in loaded.tenants.items()}
        self._tenants = {name: layer for name, layer in kept.items() if layer is not None}
        new = yield from assemble(self._settings, self._operator, self._accounts, self._tenants, self.current)
        if new.generation != self.current.generation:
            old = _held(self.current, new)
            self.current = new
            for changed in tuple(self._listeners):
                changed(new)
            yield from letting_go(old)
        return self.current


def _held(old: PolicySet, new: PolicySet) -> list[object]:
    """What `old` holds for those whose policy is another in `new`."""
    changed = [policy for name, policy in old.tenants.items() if new.tenants.get(name) is not policy]
    if old.platform is not None and old.platform is not new.platform:
        changed.append(old.platform)
    indexes = {id(index): index for policy in changed for index in policy.layers}
    return [each for index in indexes.values() for each in index.held()]

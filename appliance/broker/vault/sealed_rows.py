"""Secrets as the database has them, sealed, in memory for as long as nothing in the database changes.

The database is asked each time whether it has changed (`appliance.broker.database_changes`), so that a secret
that was rotated or removed, or a key that was exchanged, counts with the commit. What is kept opens no more
than the file does: only a vault that is unlocked, by the KEK of the very row. No plaintext is ever here.
"""

from __future__ import annotations

from collections import OrderedDict

from appliance.broker.database_changes import Changes
from appliance.broker.vault.vault import Found

CAPACITY = 256
"""Of all tenants, each of up to `kinds.MAX_MATERIAL` octets. The one kept longest ago is forgotten first."""

State = tuple[int, int] | None
"""Of the database; None where that cannot be told."""


class SealedRows:
    """The newest versions that were asked for. In the one thread that `changes` is asked in."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._state: State = None
        self._rows: OrderedDict[tuple[str, str, str], Found] = OrderedDict()

    def look(self, tenant: str, integration: str, name: str) -> tuple[State, Found | None]:
        """The database's state now, and what stands in it, if that is kept."""
        state = self._changes.state()
        if state is None or state != self._state:
            self._rows.clear()
            self._state = state
        return state, self._rows.get((tenant, integration, name))

    def keep(self, state: State, tenant: str, integration: str, name: str, found: Found) -> None:
        """What was found after `look` gave this state; unless another is known meanwhile."""
        if state is None or state != self._state:
            return
        self._rows[tenant, integration, name] = found
        if len(self._rows) > CAPACITY:
            self._rows.popitem(last=False)

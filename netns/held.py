"""The gateway namespace held open, so that it outlives its name: `ip netns del` alone cuts nobody off."""

from __future__ import annotations

import os

from netns import namespaces
from netns.steps import NameNamespace


class HeldNamespace:
    """Holds what bears `name` from the first `keep` on; used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: int | None = None
        self._identity: int | None = None

    def keep(self) -> tuple[NameNamespace, ...]:
        """Give the held namespace its name back where it lost it; what was done. Raises `NamespaceError`."""
        identity = namespaces.identity(self._name)
        if self._held is None:
            if identity is not None:
                self._held, self._identity = namespaces.hold(self._name), identity
            return ()
        if identity == self._identity:
            return ()
        namespaces.bind_again(self._name, self._held)
        return (NameNamespace(self._name),)

    def close(self) -> None:
        """Hold it no more."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

"""The broker's own certificate for workloads, from its root, and TLS that demands theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from OpenSSL import SSL

from appliance.broker.ca import RootAuthority
from appliance.broker.identity.tls_context import server_context
from appliance.broker.identity.verification import Trust
from appliance.names import BROKER_NAME
from appliance.tls.authority import LEAF_LIFE, issue_leaf, new_key

RENEWED_AFTER = LEAF_LIFE / 2


class ServerTls:
    """A key and a certificate in memory, made anew long before they end.

    `trust` has the roots that clients may lead to; who they are is judged for each request besides.
    """

    def __init__(self, root: RootAuthority, trust: Trust, now: Callable[[], datetime]) -> None:
        self._root = root
        self._trust = trust
        self._now = now
        self._renew_at = now() - timedelta(seconds=1)
        self._context: SSL.Context

    def connection(self) -> SSL.Connection:
        """For one workload, in its accept state."""
        now = self._now()
        if now >= self._renew_at:
            root, key = self._root, new_key()
            leaf = issue_leaf(root.certificate, root.key, key.public_key(), BROKER_NAME, now)
            self._context = server_context(key, [leaf], self._trust.roots)
            self._renew_at = now + RENEWED_AFTER
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection

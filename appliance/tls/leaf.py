"""Server side of interception: a TLS context for exactly one name, minted when it is first needed.

The name is the one that was judged, taken from the ClientHello before the handshake begins; the context never
looks at the server name again, so there is no default certificate that a second name could be answered with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from OpenSSL import SSL

from appliance.names import HostName
from appliance.tls.authority import issue_leaf, new_key
from appliance.tls.intermediate import Intermediate
from appliance.tls.profile import HTTP_1_1, restrict

CAPACITY = 1024
RENEWED_BEFORE_END = timedelta(hours=1)


class LeafUnavailable(Exception):
    """No leaf can be minted: there is no valid intermediate (the broker has not answered for too long)."""


class NoCommonProtocol(SSL.Error):
    """The client offers application protocols, and `http/1.1` is not among them (RFC 7301 §3.2)."""

    def __init__(self) -> None:
        super().__init__([("gateway", "", "no application protocol")])


@dataclass(frozen=True, slots=True)
class _Minted:
    context: SSL.Context
    renew_at: datetime


class LeafCache:
    """Contexts by name, least recently used dropped beyond `capacity`. One leaf key for the worker's life."""

    def __init__(
        self, now: Callable[[], datetime] = lambda: datetime.now(UTC), capacity: int = CAPACITY
    ) -> None:
        self._now = now
        self._capacity = capacity
        self._key = new_key()
        self._intermediate: Intermediate | None = None
        self._minted: OrderedDict[HostName, _Minted] = OrderedDict()

    @property
    def ready(self) -> bool:
        """Whether `mint` would answer."""
        return self._intermediate is not None and self._now() < self._intermediate.not_after

    def install(self, intermediate: Intermediate) -> None:
        """Mint from this one from now on; what was minted before is not used for new connections."""
        self._intermediate = intermediate
        self._minted.clear()

    def mint(self, name: HostName) -> SSL.Context:
        """The context for `name`: its leaf and the intermediate, TLS 1.2 or newer, ALPN `http/1.1`.

        Raises `LeafUnavailable`.
        """
        now = self._now()
        found = self._minted.get(name)
        if found is not None and now < found.renew_at:
            self._minted.move_to_end(name)
            return found.context
        intermediate = self._intermediate
        if intermediate is None or now >= intermediate.not_after:
            raise LeafUnavailable("no valid intermediate certificate; is the broker running?")
        leaf = issue_leaf(intermediate.certificate, intermediate.key, self._key.public_key(), name, now)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        restrict(context)
        context.use_privatekey(self._key)
        context.use_certificate(leaf)
        context.add_extra_chain_cert(intermediate.certificate)
        context.set_alpn_select_callback(_select_protocol)
        # An hour before its end a leaf is minted anew; one with little life of its own, at half of it.
        end = leaf.not_valid_after_utc
        renew_at = max(end - RENEWED_BEFORE_END, now + (end - now) / 2)
        self._minted[name] = _Minted(context, renew_at)
        self._minted.move_to_end(name)
        while len(self._minted) > self._capacity:
            self._minted.popitem(last=False)
        return context

    def connection(self, name: HostName) -> SSL.Connection:
        """A server connection over memory BIOs as `name`. Raises `LeafUnavailable`."""
        connection = SSL.Connection(self.mint(name), None)
        connection.set_accept_state()
        return connection


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    del connection
    if HTTP_1_1 not in offered:
        raise NoCommonProtocol
    return HTTP_1_1

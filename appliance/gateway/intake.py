"""What a container has said and nobody has taken up yet, and whether it is read on."""

from __future__ import annotations

from typing import Any

from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore
from appliance.http1.section import FieldSection

GATE = HeadLimits(request_line=33 * 1024, head=98 * 1024, encoded_slash=True)
"""What the gate reads before it says no: above every cap a policy can set, so that the policy's own cap and
rule are named in the refusal. `%2F` in a path is left to policy, too, which refuses it but for rules that say
`encoded_slash: true` (scoped packages of npm registries are asked for that way)."""

KEPT_BYTES, KEPT_FIELDS = 2048, 32
"""Of a head whose fields are kept to recognise them in the connection's next one: 6 KiB of memory at most."""


class Intake:
    """Bytes in their order. `blocked` while the container does not take what was written to it.

    `begun` when the last look found the beginning of a head where there was nothing before.
    """

    __slots__ = ("_held", "_known", "_searched", "_transport", "begun", "blocked", "waiting")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._searched = 0
        self._known: FieldSection | None = None
        self._held = False
        self.begun = False
        self.blocked = False
        self.waiting = b""

    def add(self, data: bytes) -> None:
        """More of them."""
        self.waiting = self.waiting + data if self.waiting else data

    def take_all(self) -> bytes:
        """All of them; nothing waits any more."""
        taken, self.waiting = self.waiting, b""
        return taken

    def take_head(self) -> RequestHead | NeedMore:
        """The request head that they begin with. Raises `http1.Refused`."""
        head = parse_request_head(self.waiting, GATE, searched=self._searched, known=self._known)
        if isinstance(head, NeedMore):
            self.begun = not self._searched
            self._searched = head.searched
            return head
        self.waiting = self.waiting[head.head_bytes :]
        self._searched = 0
        # The next request most often has the same fields: 1 us to compare them, 18 to judge them.
        kept = head.head_bytes <= KEPT_BYTES and len(head.headers) <= KEPT_FIELDS
        self._known = head.section if kept else None
        return head

    def hold(self) -> None:
        """Read the container no more."""
        if not self._held:
            self._held = True
            self._transport.pauseProducing()

    def let_in(self) -> None:
        """Read it again, unless it is `blocked`."""
        if self._held and not self.blocked:
            self._held = False
            self._transport.resumeProducing()

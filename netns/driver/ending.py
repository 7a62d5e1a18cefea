"""The broker's wish that a container ends: what it ran has brought authority of its own into a call."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from appliance.control import ControlError, Operation
from netns.plumbing import Attachment

if TYPE_CHECKING:
    from appliance.control import Peer
    from appliance.ipc import Message

_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}")
MAX_WHY = 200

Stop = Callable[[Attachment, str, str], Awaitable[None]]


def stop_container(attachments: Callable[[], Iterable[Attachment]], stop: Stop, uid: int) -> Operation:
    """The control operation: `endpoint`, `reason` (a stable code), `why` (a sentence). For `uid` and root.

    The link goes first, then the container; the answer comes when both are gone.
    """

    async def answer(message: Message, _peer: Peer) -> Message:
        endpoint, reason, why = (message.get(key) for key in ("endpoint", "reason", "why"))
        if not isinstance(reason, str) or not _CODE.fullmatch(reason) or not isinstance(why, str):
            raise ControlError("invalid-request", "stop-container has an endpoint, a reason and a sentence")
        found = next((link for link in attachments() if link.endpoint == endpoint), None)
        if found is None:
            raise ControlError("endpoint-unknown", "no container is on that link; it has gone already")
        await stop(found, reason, why[:MAX_WHY])
        return {}

    return Operation(answer, frozenset({uid}))

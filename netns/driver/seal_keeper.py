"""Looks after seals for as long as their containers run, and seals again what was undone.

Not by netlink notices: a socket inside a sandbox would keep the sandbox, and with it the link, alive after
its container. The generation of its nftables tells as much, and costs no more than a look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from netns.driver.generation import generation
from netns.driver.rounds import Rounds
from netns.driver.sealer import InThread, SealFailed, Sealing
from netns.plumbing import Attachment

EVERY = 0.5  # seconds

_log = Logger()


@dataclass(slots=True)
class _Kept:
    attachment: Attachment
    sandbox: Path
    gateway: IPv4Address
    generation: int | None = None


class SealKeeper(Rounds):
    """Keeps the seals that it is given, from the first on. What is sealed stays so without it.

    `resealed` hears of a repair, `lost` of a seal that cannot be made again, with the reason.
    """

    def __init__(
        self,
        clock: Any,
        sealer: Sealing,
        in_thread: InThread,
        *,
        resealed: Callable[[Attachment], None],
        lost: Callable[[Attachment, str], Awaitable[None]],
        generation_in: Callable[[Path], int] = generation,
    ) -> None:
        super().__init__(clock, EVERY, self._look_at_all)
        self._sealer = sealer
        self._in_thread = in_thread
        self._resealed = resealed
        self._lost = lost
        self._generation_in = generation_in
        self._kept: dict[str, _Kept] = {}

    def keep(self, attachment: Attachment, sandbox: Path, gateway: IPv4Address) -> None:
        """Look after a seal that has just been seen to hold."""
        self._kept[attachment.endpoint] = _Kept(attachment, sandbox, gateway)
        self.start()

    def forget(self, endpoint: str) -> None:
        """Its container is gone; an unknown endpoint is no error."""
        self._kept.pop(endpoint, None)

    async def _look_at_all(self) -> None:
        for kept in tuple(self._kept.values()):
            if self._kept.get(kept.attachment.endpoint) is not kept:
                continue
            try:
                await self._look(kept)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - raised out of here it would end the looks at all seals, for good
                _log.failure("looking after endpoint {endpoint} failed", endpoint=kept.attachment.endpoint)

    async def _look(self, kept: _Kept) -> None:
        try:
            now = await self._in_thread(self._generation_in, kept.sandbox)
            if now == kept.generation:
                return
            if await self._sealer.holds(kept.sandbox, kept.gateway):
                kept.generation = now
                return
            # A sandbox that ends while we look cannot be read again: then nothing was undone.
            await self._in_thread(self._generation_in, kept.sandbox)
        except OSError:
            return
        if self._kept.get(kept.attachment.endpoint) is not kept:
            return
        try:
            await self._sealer.seal_again(kept.sandbox, kept.gateway)
        except SealFailed as error:
            self.forget(kept.attachment.endpoint)
            await self._lost(kept.attachment, str(error))
        else:
            _log.warn("sealed endpoint {endpoint} again", endpoint=kept.attachment.endpoint)
            self._resealed(kept.attachment)

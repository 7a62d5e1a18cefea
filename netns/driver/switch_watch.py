"""Notices that dockerd asks the admission plugin no more, as after a reload of a configuration without it.

netd does not write Docker's configuration, so this is told, not mended. Closed it is all the same: the proof
by which containers get a network is dropped at the first look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from netns.driver.rounds import Rounds

EVERY = 1.0
"""Seconds between two looks; each is one call of dockerd's API that costs it nothing."""


class SwitchWatch(Rounds):
    """Looks while `wanted` says that there is something to admit to.

    `asks` says whether dockerd asks us, None when it does not answer; `told` hears of each change. One look
    proves no change: dockerd leaves single calls unasked while it reads its configuration anew.
    """

    def __init__(
        self,
        clock: Any,
        asks: Callable[[], Awaitable[bool | None]],
        wanted: Callable[[], bool],
        told: Callable[[bool], None],
    ) -> None:
        super().__init__(clock, EVERY, self._look)
        self._asks = asks
        self._wanted = wanted
        self._told = told
        self._on = True
        self._doubted = False

    async def _look(self) -> None:
        on = await self._asks() if self._wanted() else None
        if on is None or on == self._on:
            self._doubted = False
        elif self._doubted:
            self._doubted, self._on = False, on
            self._told(on)
        else:
            self._doubted = True

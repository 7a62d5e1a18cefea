"""Judges containers of ours again while they run, by what they are, whatever has made them so.

A call names a container, and dockerd looks the name up after the plugin's answer. By then it may be that of
another, for renaming is not judged. And while dockerd reads its configuration anew it leaves calls unasked.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from netns.driver.admission import Decision, Refused
from netns.driver.containers import Containers
from netns.driver.facts import EngineUnavailable, Running
from netns.driver.rounds import Rounds
from netns.plumbing import Endpoints

EVERY = 5.0
"""Seconds between two looks; each is two questions to dockerd, however many containers run."""

_log = Logger()


class Judge(Protocol):
    """The admission plugin, asked about containers that are there; see `netns.driver.authz.Authorization`."""

    async def ours(self) -> tuple[Running, ...]:
        """Containers that run on a network of ours, were made for one, or share the network of another."""

    async def decide_existing(self, reference: str) -> Decision:
        """Whether a container may be on its networks."""


class ContainerWatch(Rounds):
    """Stops containers that should not be there.

    Every `EVERY` seconds those are judged that are not on one network by a link of ours; after `changed` all.
    However many calls change something while dockerd is being asked, it is asked once more.
    """

    def __init__(self, clock: Any, plumbing: Endpoints, judge: Judge, containers: Containers) -> None:
        super().__init__(clock, EVERY, self._look)
        self._plumbing = plumbing
        self._judge = judge
        self._containers = containers
        self._all = False
        self._looking = False
        self._due: dict[str, Running] = {}
        self._busy: set[str] = set()

    def changed(self) -> None:
        """A call may have changed any container: judge all of ours, at once or as soon as dockerd answers.

        While it is being asked, after that; where that fails, at the next look.
        """
        self._all = True
        self.look_now()

    async def _look(self) -> None:
        if self._looking or not self._plumbing.networks():
            return
        self._looking = True
        try:
            await self._ask()
            while self._all and self._plumbing.networks():
                await self._ask()
        except EngineUnavailable as error:
            _log.warn("{error}; will ask again", error=str(error))
        finally:
            self._looking = False

    async def _ask(self) -> None:
        every_one, self._all = self._all, False
        try:
            running = await self._judge.ours()
        except Exception:  # remembered that all were to be looked at, and raised again
            self._all = self._all or every_one
            raise
        links = {attachment.endpoint for attachment in self._plumbing.attachments()}
        for one in running:
            if every_one or len(one.endpoints) != 1 or one.endpoints[0] not in links:
                self._due[one.container] = one
                if one.container not in self._busy:
                    Deferred.fromCoroutine(self._judge_due(one.container))

    async def _judge_due(self, container: str) -> None:
        """Judge a container until nothing has asked for that since a judgement began, or it is stopped."""
        self._busy.add(container)
        try:
            while (one := self._due.pop(container, None)) is not None:
                refused = await self._refusal(one)
                if refused is not None:
                    await self._containers.end(one, refused)
                    self._due.pop(container, None)
        except Exception:  # noqa: BLE001 - told where it is seen; the next look finds the container again
            _log.failure("stopping container {id} failed", id=container)
        finally:
            self._busy.discard(container)

    async def _refusal(self, one: Running) -> Refused | None:
        """Why a container may not run on, None when it may; one that we fail to judge may not."""
        try:
            decision = await self._containers.patiently(self._judge.decide_existing, one.container)
        except CancelledError:
            raise
        except OSError as error:
            return Refused(("path",), f"egress: a path that it mounts is not as it was: {error}")
        except Exception:  # noqa: BLE001 - CancelledError is above
            _log.failure("judging container {id} failed", id=one.container)
            return Refused(("not-judged",), "egress-netd failed to judge it; see its log")
        return decision if isinstance(decision, Refused) else None

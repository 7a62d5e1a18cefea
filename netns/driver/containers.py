"""From a link to the container at its other end: its name for the records, its conformance, its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.task import deferLater
from twisted.logger import Logger

from appliance.workload import RUN_LABEL
from netns.driver.admission import Decision, Refused
from netns.driver.facts import Engine, EngineUnavailable, Member, Running
from netns.plumbing import Attachment, Endpoints, PlumbingError

FIRST_LOOK = 0.02
SLOWEST_LOOK = 2.0
GIVE_UP = 60.0  # seconds of the last pause, about two minutes in all
NO_FAULT_OF_ITS_OWN = frozenset({"not-sealed", "sealed-late", "not-judged"})
"""Reasons of a stop after which a container may come back by its restart policy."""

T = TypeVar("T")
Stopped = Callable[[Attachment, str, str, str], None]
Ended = Callable[[str, str, str, str], None]


def _silent(subject: Attachment | str, *words: str) -> None:
    del subject, words


class Judge(Protocol):
    """The admission plugin, asked about a container that is there."""

    async def decide_existing(self, reference: str) -> Decision:
        """See `netns.driver.authz.Authorization`."""


class Containers:
    """Looks containers up while Docker starts them.

    `clock` is the reactor's; `stopped` hears of every container that is stopped: its link, its id (empty when
    Docker has not told it), a stable code and a sentence. `ended` hears of one without a link: its id and its
    network's tenant, code and sentence.
    """

    def __init__(
        self,
        clock: Any,
        engine: Engine,
        plumbing: Endpoints,
        judge: Judge,
        stopped: Stopped = _silent,
        *,
        ended: Ended = _silent,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._plumbing = plumbing
        self._judge = judge
        self._stopped = stopped
        self._ended = ended
        self._log = Logger()

    async def member(self, attachment: Attachment) -> Member | None:
        """The container on a link, as soon as Docker tells; None when the link has gone before that."""
        pause = FIRST_LOOK
        while self._attached(attachment.endpoint):
            member = await self._look(attachment)
            if member is not None:
                return member
            await self.pause(pause)
            pause = min(pause * 2, SLOWEST_LOOK)
        return None

    async def introduce(self, attachment: Attachment) -> None:
        """Give the link its container's name, and stop a container that should not be there."""
        member = await self.member(attachment)
        if member is None:
            return
        labels = await self.patiently(self._engine.labels, member.container)
        await self._plumbing.describe(
            attachment.endpoint,
            container=member.container,
            name=member.name,
            run=labels.get(RUN_LABEL, ""),
        )
        decision = await self.patiently(self._judge.decide_existing, member.container)
        if isinstance(decision, Refused):
            await self.stop(attachment, decision.keys[0], decision.message)

    async def sandbox_key(self, attachment: Attachment) -> str | None:
        """Where the sandbox of the container on a link is, once it runs; None when it never does."""
        member = await self.member(attachment)
        while member is not None and self._attached(attachment.endpoint):
            document = await self.patiently(self._engine.container, member.container)
            if document is None:
                return None
            if (document.get("State") or {}).get("Running"):
                return str((document.get("NetworkSettings") or {}).get("SandboxKey", ""))
            await self.pause(FIRST_LOOK)
        return None

    async def runtime(self, attachment: Attachment) -> str:
        """The runtime of the container on a link; empty when Docker does not tell it now."""
        member = await self.member(attachment)
        try:
            document = None if member is None else await self._engine.container(member.container)
        except EngineUnavailable as error:
            self._log.warn("{error}", error=str(error))
            document = None
        return str(((document or {}).get("HostConfig") or {}).get("Runtime", ""))

    async def stop(self, attachment: Attachment, reason: str, why: str) -> None:
        """Take the link away at once, then stop the container.

        Docker starts one with `--restart always` again at its own next start, before it answers what would
        end it; so what is stopped for what it is or did loses that policy.
        """
        await self._detach(attachment, why)
        member = None
        try:
            member = await self._look(attachment)
        finally:  # also when its end, which dockerd tells us of, comes first
            self._stopped(attachment, member.container if member else "", reason, why)
        pause = FIRST_LOOK
        while member is None and pause < GIVE_UP:
            await self.pause(pause)
            pause *= 2
            member = await self._look(attachment)
        if member is not None:
            await self._kill(member.container, reason)

    async def end(self, running: Running, refused: Refused) -> None:
        """As `stop`, for a container by its id, which may have no link any more."""
        reason, why = refused.keys[0], refused.message
        links = [link for link in self._plumbing.attachments() if link.endpoint in running.endpoints]
        for link in links:
            await self._detach(link, why)
            self._stopped(link, running.container, reason, why)
        if not links:
            self._log.error("stopping container {id}, without a link: {why}", id=running.container, why=why)
            self._ended(running.container, refused.tenant, reason, why)
        await self._kill(running.container, reason)

    async def tidy(self, reference: str) -> None:
        """Remove a container of `docker run --rm` whose start was refused; it has never run.

        dockerd removes one whose start fails, but never hears of a start that we refuse, and the client waits
        for the removal before it says what is wrong (docker/cli, `cli/command/container/run.go`).
        """
        try:
            document = await self._engine.container(reference)
            if document is None:
                return
            state, host = document.get("State") or {}, document.get("HostConfig") or {}
            if state.get("Status") == "created" and host.get("AutoRemove") is True:
                await self._engine.remove(str(document.get("Id", "")))
        except EngineUnavailable as error:
            self._log.warn("a container that was not let start stays: {error}", error=str(error))

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await deferLater(self._clock, seconds)

    async def patiently(self, question: Callable[[str], Awaitable[T]], container: str) -> T:
        """The engine's answer, however long it is silent."""
        while True:
            try:
                return await question(container)
            except EngineUnavailable as error:
                self._log.warn("{error}; will ask again", error=str(error))
            await self.pause(SLOWEST_LOOK)

    async def _detach(self, attachment: Attachment, why: str) -> None:
        self._log.error("stopping the container on {endpoint}: {why}", endpoint=attachment.endpoint, why=why)
        try:
            await self._plumbing.detach(attachment.endpoint)
        except PlumbingError as error:
            self._log.error(
                "the link of {endpoint} stays: {error}", endpoint=attachment.endpoint, error=str(error)
            )

    async def _kill(self, container: str, reason: str) -> None:
        if reason not in NO_FAULT_OF_ITS_OWN:
            await self._end_restarts(container)
        await self.patiently(self._engine.kill, container)

    async def _end_restarts(self, container: str) -> None:
        """Before its end, which takes with it whoever watches the container."""
        try:
            await self._engine.end_restarts(container)
        except EngineUnavailable as error:
            self._log.error(
                "container {id} keeps its restart policy: {error}", id=container, error=str(error)
            )

    async def _look(self, attachment: Attachment) -> Member | None:
        try:
            members = await self._engine.members(attachment.network)
        except EngineUnavailable as error:
            self._log.warn("{error}; will ask again", error=str(error))
            return None
        return next((member for member in members if member.endpoint == attachment.endpoint), None)

    def _attached(self, endpoint: str) -> bool:
        return any(link.endpoint == endpoint for link in self._plumbing.attachments())

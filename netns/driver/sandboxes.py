"""Seals each container's sandbox: at Join where it is there, else as soon as it appears.

Docker 28 has made the sandbox when it asks to join. 20.10 and 26.1 make it later: its file appears some 100
to 300 ms before the container's first program runs. That is a race, so its end is looked at: a container
whose program runs before the seal is in place loses its link and is stopped.

What then runs is verified: the container's first process, as soon as it is past runc, has to be as powerless
as Docker was asked to make it. By then it has had its link for up to `LOOK`, one look through /proc and one
question to Docker (10 to 30 ms measured); whatever it asked for was judged like any other request. A process
that has ended before is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.docker_root import TooManyLinks, seen_from_here
from netns.driver.containers import Containers
from netns.driver.refusal import DriverRefused
from netns.driver.sandbox import FirstProcess, first_process, is_namespace, runs_already
from netns.driver.sealer import InThread, SealFailed, Sealing
from netns.plumbing import Attachment

# How often we look for a sandbox, by the seconds since Join: it is a stat(2) each time, some 50 at a start.
PACE = ((2.0, 0.004), (30.0, 0.01), (float("inf"), 0.1))
LOOK = 0.025  # between two looks for a container's first process; each goes through all of /proc
SOON = 3.0  # seconds in which Docker starts a container; after them it is asked whether it has
GRACE = 1.0  # from Docker's word that a container runs until it must show a program

OWN_KERNEL = frozenset({"runsc"})  # of those that admission lets through

Look = Callable[[Path], bool]


class Keeping(Protocol):
    """See `netns.driver.seal_keeper.SealKeeper`."""

    def keep(self, attachment: Attachment, sandbox: Path, gateway: IPv4Address) -> None:
        """Look after a seal from now on."""

    def forget(self, endpoint: str) -> None:
        """Look after it no more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What we can see of a sandbox; `netns.driver.sandbox` in production."""

    is_namespace: Look = is_namespace
    runs_already: Look = runs_already
    first_process: Callable[[Path], FirstProcess | None] = first_process


class Sandboxes:
    """Implements `netns.driver.network_driver.Sandboxes`. `root` is dockerd's file system as we see it."""

    def __init__(
        self,
        clock: Any,
        root: Path,
        sealer: Sealing,
        containers: Containers,
        *,
        probe: Probe,
        in_thread: InThread,
        keeper: Keeping,
    ) -> None:
        self._clock = clock
        self._keeper = keeper
        self._root = root
        self._sealer = sealer
        self._containers = containers
        self._probe = probe
        self._in_thread = in_thread
        self._tasks: dict[str, list[Deferred[None]]] = {}
        self._log = Logger()

    async def joined(self, attachment: Attachment, sandbox_key: str, gateway: IPv4Address) -> None:
        """See `network_driver.Sandboxes`."""
        sandbox = self._locate(sandbox_key)
        if self._probe.is_namespace(sandbox):
            try:
                await self._sealer.seal(sandbox, gateway)
            except SealFailed as error:
                raise DriverRefused(f"egress: {error}") from error
            self._keeper.keep(attachment, sandbox, gateway)
            self._begin(attachment, self._verify(attachment, sandbox))
        else:
            self._begin(attachment, self._watch(attachment, sandbox, gateway))
        self._begin(attachment, self._containers.introduce(attachment))

    def left(self, endpoint: str) -> None:
        """See `network_driver.Sandboxes`."""
        self._keeper.forget(endpoint)
        for task in self._tasks.pop(endpoint, []):
            task.cancel()

    def stop(self) -> None:
        """Stop watching; what is sealed stays sealed."""
        for endpoint in list(self._tasks):
            self.left(endpoint)

    def recheck(self, attachment: Attachment, gateway: IPv4Address) -> None:
        """After our own restart: see that the container on this link is sealed, else stop it."""
        self._begin(attachment, self._recheck(attachment, gateway))
        self._begin(attachment, self._containers.introduce(attachment))

    async def _watch(self, attachment: Attachment, sandbox: Path, gateway: IPv4Address) -> None:
        began = self._clock.seconds()
        while not self._probe.is_namespace(sandbox):
            waited = self._clock.seconds() - began
            await self._containers.pause(next(pause for until, pause in PACE if waited < until))
        appeared = self._clock.seconds()
        try:
            await self._sealer.seal(sandbox, gateway)
        except SealFailed as error:
            await self._containers.stop(attachment, "not-sealed", str(error))
            return
        took = self._clock.seconds() - appeared
        if await self._in_thread(self._probe.runs_already, sandbox):
            why = (
                "its embedded DNS was not sealed before it ran; its sandbox was there "
                f"{appeared - began:.3f} s after Docker joined it, and to seal it took {took:.3f} s"
            )
            await self._containers.stop(attachment, "sealed-late", why)
            return
        self._keeper.keep(attachment, sandbox, gateway)
        await self._verify(attachment, sandbox)

    async def _recheck(self, attachment: Attachment, gateway: IPv4Address) -> None:
        key = await self._containers.sandbox_key(attachment)
        if key is None:
            return
        sandbox = self._locate(key)
        if not await self._sealer.holds(sandbox, gateway):
            await self._containers.stop(attachment, "not-sealed", "its embedded DNS is not sealed")
            return
        self._keeper.keep(attachment, sandbox, gateway)
        await self._verify(attachment, sandbox)

    async def _verify(self, attachment: Attachment, sandbox: Path) -> None:
        """Judge the container's first process, or stop a container that does not show it."""
        found = await self._first_program(sandbox)
        for _ in range(2):  # twice: the first process may have ended, and dockerd not noticed yet
            if found is not None and found.runs:
                break
            if await self._containers.sandbox_key(attachment) is None:
                return
            await self._containers.pause(GRACE)
            found = await self._in_thread(self._probe.first_process, sandbox)
        if not self._probe.is_namespace(sandbox):
            return
        # By now what has not executed its program yet is judged as well.
        problems = ("cannot be seen by egress-netd",) if found is None else found.problems
        # Of a runtime with a kernel of its own the host sees that kernel, not the container's processes.
        if problems and await self._containers.runtime(attachment) not in OWN_KERNEL:
            why = f"its first process is not as Docker was asked to run it: {'; '.join(problems)}"
            await self._containers.stop(attachment, "process-status", why)

    async def _first_program(self, sandbox: Path) -> FirstProcess | None:
        """The first process as soon as it is past runc; after `SOON`, whatever is there."""
        until = self._clock.seconds() + SOON
        while self._probe.is_namespace(sandbox):
            found = await self._in_thread(self._probe.first_process, sandbox)
            if (found is not None and found.runs) or self._clock.seconds() >= until:
                return found
            await self._containers.pause(LOOK)
        return None

    def _locate(self, sandbox_key: str) -> Path:
        if not sandbox_key.startswith("/"):
            raise DriverRefused(f"egress: {sandbox_key!r} is no path of a sandbox")
        try:
            return seen_from_here(self._root, sandbox_key)
        except TooManyLinks as error:
            raise DriverRefused(f"egress: {error}") from error

    async def _surely(self, attachment: Attachment, work: Coroutine[Any, Any, None]) -> None:
        """A container that we fail to judge is not let run: what we stumble over may be its own doing."""
        try:
            await work
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - CancelledError is above
            self._log.failure("judging {endpoint} failed", endpoint=attachment.endpoint)
            await self._containers.stop(
                attachment, "not-judged", "egress-netd failed to judge it; see its log"
            )

    def _begin(self, attachment: Attachment, work: Coroutine[Any, Any, None]) -> None:
        endpoint = attachment.endpoint
        task = Deferred.fromCoroutine(self._surely(attachment, work))
        tasks = self._tasks.setdefault(endpoint, [])
        tasks.append(task)

        def ended(result: Any) -> None:
            if task in tasks:
                tasks.remove(task)
            if not tasks and self._tasks.get(endpoint) is tasks:
                del self._tasks[endpoint]
            if result is not None and not result.check(CancelledError):
                self._log.failure("watching {endpoint} failed", failure=result, endpoint=endpoint)

        task.addBoth(ended)

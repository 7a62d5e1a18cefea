"""Applies and reads the seal, in a child process that enters the sandbox; netd itself never moves."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from netns.driver.seal import FAMILY, ROUTE_LOCALNET, TABLE, seal_holds, seal_ruleset

TIMEOUT = 10  # seconds; it takes some 20 ms
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_LIST = f"cat {ROUTE_LOCALNET} && nft -n list table {FAMILY} {TABLE}"
_APPLY = f"nft -f - && echo 1 > {ROUTE_LOCALNET} && {_LIST}"


T = TypeVar("T")


class SealFailed(Exception):
    """A sandbox is not sealed; `str()` says what was tried and what came of it."""


class Sealing(Protocol):
    """What others need of a `Sealer`."""

    async def seal(self, sandbox: Path, gateway: IPv4Address) -> None:
        """Raise `SealFailed` unless the sandbox is sealed."""

    async def holds(self, sandbox: Path, gateway: IPv4Address) -> bool:
        """Whether it is sealed."""


class InThread(Protocol):
    """`Sealer.in_thread`."""

    def __call__(self, question: Callable[[Path], T], sandbox: Path, /) -> Awaitable[T]:
        """The answer to a question that blocks, asked elsewhere."""


class Sealer:
    """Works on sandboxes by path, `threads` at a time. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN."""

    def __init__(self, reactor: Any, threads: int = 4) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, threads, name="seal")
        self._pool.start()

    def close(self) -> None:
        """Let the threads end."""
        self._pool.stop()

    async def in_thread(self, question: Callable[[Path], T], sandbox: Path) -> T:
        """Ask what may take some milliseconds."""
        answer: T = await deferToThreadPool(self._reactor, self._pool, question, sandbox)
        return answer

    async def seal(self, sandbox: Path, gateway: IPv4Address) -> None:
        """Seal and look whether it holds. Raises `SealFailed`."""
        await deferToThreadPool(self._reactor, self._pool, seal, sandbox, gateway)

    async def holds(self, sandbox: Path, gateway: IPv4Address) -> bool:
        """Whether a sandbox is sealed."""
        return await deferToThreadPool(self._reactor, self._pool, holds, sandbox, gateway)


def seal(sandbox: Path, gateway: IPv4Address) -> None:
    """See `Sealer.seal`; blocks."""
    listing = _inside(sandbox, _APPLY, seal_ruleset(gateway))
    if not seal_holds(listing, gateway):
        raise SealFailed(f"the seal of the embedded DNS in {sandbox} does not hold")


def holds(sandbox: Path, gateway: IPv4Address) -> bool:
    """See `Sealer.holds`; blocks."""
    try:
        return seal_holds(_inside(sandbox, _LIST, ""), gateway)
    except SealFailed:
        return False


def _inside(sandbox: Path, script: str, stdin: str) -> str:
    try:
        done = subprocess.run(
            ["nsenter", f"--net={sandbox}", "--", "/bin/sh", "-c", script],
            input=stdin,
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
            timeout=TIMEOUT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().replace("\n", " ")[:300]
        raise SealFailed(f"cannot seal the embedded DNS in {sandbox}: {said or error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SealFailed(f"cannot seal the embedded DNS in {sandbox}: {error}") from error
    return done.stdout

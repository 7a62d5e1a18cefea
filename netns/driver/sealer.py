"""Applies and reads the seal: a thread enters the sandbox for it, some milliseconds, and the others stay.

Without a child: nsenter, sh, nft, cat and nft again took 21 ms, 9 of them of a processor that runc needed to
start the container; this takes 1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from netns import namespaces, nft
from netns.driver.seal import FAMILY, ROUTE_LOCALNET, TABLE, first_seal, seal_holds, seal_ruleset

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
    with _inside(sandbox):
        try:
            nft.change(first_seal(gateway))
        except nft.NftError:  # there is such a table, perhaps not ours
            nft.change(seal_ruleset(gateway))
        Path(ROUTE_LOCALNET).write_text("1", encoding="ascii")
        held = seal_holds(_listing(), gateway)
    if not held:
        raise SealFailed(f"the seal of the embedded DNS in {sandbox} does not hold")


def holds(sandbox: Path, gateway: IPv4Address) -> bool:
    """See `Sealer.holds`; blocks."""
    try:
        with _inside(sandbox):
            return seal_holds(_listing(), gateway)
    except SealFailed:
        return False


def _listing() -> str:
    return Path(ROUTE_LOCALNET).read_text(encoding="ascii") + nft.written_out(FAMILY, TABLE)


@contextmanager
def _inside(sandbox: Path) -> Iterator[None]:
    try:
        with namespaces.entered(str(sandbox)):
            yield
    except (OSError, nft.NftError) as error:
        raise SealFailed(f"cannot seal the embedded DNS in {sandbox}: {error}") from error

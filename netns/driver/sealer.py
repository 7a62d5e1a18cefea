"""Applies and reads the seal: in a thread where nothing has touched the sandbox yet, else in a child process.

What lists nftables decodes whatever is there, and the library ends its process over what it does not expect.
So only the first seal, in a namespace of which nftables says that nobody ever changed anything, is our own
process's work: a thread enters the sandbox, for 1 ms. A child takes 21 ms, 9 of them of a processor that runc
needs to start the container. Whatever a container may have had its hands on is left to one, with little
memory, processor time and output; when it fails the sandbox is not sealed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from netns import namespaces, nft
from netns.driver.generation import generation_here
from netns.driver.seal import FAMILY, ROUTE_LOCALNET, TABLE, first_seal, seal_holds, seal_ruleset

TIMEOUT = 10.0  # seconds; it takes some 20 ms
_LARGEST = 65536  # octets of a listing; ours has 600
_LIMITS = ("--as=268435456", "--cpu=5", f"--fsize={_LARGEST}", "--core=0")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_LIST = f"cat {ROUTE_LOCALNET} && nft -n list table {FAMILY} {TABLE}"
_APPLY = f"nft -f - && echo 1 > {ROUTE_LOCALNET} && {_LIST}"
_UNTOUCHED = 1  # the generation of a new namespace's nftables

T = TypeVar("T")


class SealFailed(Exception):
    """A sandbox is not sealed; `str()` says what was tried and what came of it."""


class Sealing(Protocol):
    """What others need of a `Sealer`."""

    async def seal(self, sandbox: Path, gateway: IPv4Address) -> None:
        """Raise `SealFailed` unless the sandbox is sealed."""

    async def seal_again(self, sandbox: Path, gateway: IPv4Address) -> None:
        """The same where a container runs or has run."""

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

    async def seal_again(self, sandbox: Path, gateway: IPv4Address) -> None:
        """`seal` where a container runs or has run. Raises `SealFailed`."""
        await deferToThreadPool(self._reactor, self._pool, seal_again, sandbox, gateway)

    async def holds(self, sandbox: Path, gateway: IPv4Address) -> bool:
        """Whether a sandbox is sealed."""
        return await deferToThreadPool(self._reactor, self._pool, holds, sandbox, gateway)


def seal(sandbox: Path, gateway: IPv4Address) -> None:
    """See `Sealer.seal`; blocks."""
    with _entered(sandbox):
        held = generation_here() == _UNTOUCHED and _first(gateway)
    if not held:
        seal_again(sandbox, gateway)


def seal_again(sandbox: Path, gateway: IPv4Address) -> None:
    """See `Sealer.seal_again`; blocks."""
    if not seal_holds(_by_child(sandbox, _APPLY, seal_ruleset(gateway)), gateway):
        raise SealFailed(f"the seal of the embedded DNS in {sandbox} does not hold")


def holds(sandbox: Path, gateway: IPv4Address) -> bool:
    """See `Sealer.holds`; blocks."""
    try:
        return seal_holds(_by_child(sandbox, _LIST, ""), gateway)
    except SealFailed:
        return False


def _first(gateway: IPv4Address) -> bool:
    """Whether the seal holds that is made here, where nobody else has made anything."""
    try:
        nft.change(first_seal(gateway))
    except nft.NftError:  # there is such a table, so somebody was here
        return False
    Path(ROUTE_LOCALNET).write_text("1", encoding="ascii")
    if generation_here() != _UNTOUCHED + 1:  # somebody is here
        return False
    listing = Path(ROUTE_LOCALNET).read_text(encoding="ascii") + nft.written_out(FAMILY, TABLE)
    return seal_holds(listing, gateway)


@contextmanager
def _entered(sandbox: Path) -> Iterator[None]:
    try:
        with namespaces.entered(str(sandbox)):
            yield
    except (OSError, nft.NftError) as error:
        raise SealFailed(f"cannot seal the embedded DNS in {sandbox}: {error}") from error


def _by_child(sandbox: Path, script: str, stdin: str) -> str:
    """What `script` writes inside the sandbox, all of it. Raises `SealFailed` whatever else it comes to."""
    try:
        with _scratch_file() as written, _scratch_file() as complaint:
            with subprocess.Popen(
                ["prlimit", *_LIMITS, "nsenter", f"--net={sandbox}", "--", "/bin/sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=complaint,
                env=_ENVIRONMENT,
                process_group=0,
            ) as child:
                try:
                    child.communicate(stdin.encode(), timeout=TIMEOUT)
                finally:
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)  # also what the shell started
            if child.returncode != 0:
                said = " ".join(_text(complaint).split())[:300]
                raise SealFailed(
                    f"cannot seal the embedded DNS in {sandbox}: {said or f'status {child.returncode}'}"
                )
            return _text(written)
    except (OSError, subprocess.SubprocessError) as error:
        raise SealFailed(f"cannot seal the embedded DNS in {sandbox}: {error}") from error


def _scratch_file() -> BinaryIO:
    """In memory and of limited size: who writes too much into it is ended."""
    return os.fdopen(os.memfd_create("seal"), "w+b")


def _text(written: BinaryIO) -> str:
    written.seek(0)
    return written.read(_LARGEST).decode("utf-8", "replace")

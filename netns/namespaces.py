"""Named network namespaces (ip-netns(8)): which exist, and stepping into one with the calling thread.

A network namespace belongs to a thread (setns(2)), and a child inherits that of the thread that starts it. So
sockets opened and programs run inside `entered` are in the namespace, and the rest of the process is not.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN = Path("/run/netns")
_OWN = Path("/proc/thread-self/ns/net")
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


FALLBACK_TUNNELS = frozenset(
    {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "sit0", "ip6tnl0", "ip6gre0", "ip6_vti0"}
)
"""What a kernel with tunnel modules puts into each namespace, down (sysctl fb_tunnels_only_for_init_net)."""


class NamespaceError(OSError):
    """A namespace cannot be made, entered or removed; `str()` names it."""


def path(name: str) -> Path:
    """Where a named namespace is mounted."""
    return RUN / name


def identity(name: str | None) -> int | None:
    """Inode number that tells one namespace from another; None where `name` is no namespace.

    A file that is left over from a half-made namespace is not on the kernel's namespace file system.
    """
    found = None if name is None else path(name)
    try:
        seen = (found or _OWN).stat()
    except OSError:
        return None
    return seen.st_ino if seen.st_dev == _OWN.stat().st_dev else None


def links(table: Path = Path("/proc/self/net/dev")) -> set[str]:
    """Names of the interfaces where we are (proc(5)). Read, for a sandbox may leave us no netlink socket."""
    return {line.partition(":")[0].strip() for line in table.read_text(encoding="ascii").splitlines()[2:]}


def create(name: str) -> None:
    """Make a named namespace, replacing a leftover file. Raises `NamespaceError`."""
    if identity(name) is None:
        path(name).unlink(missing_ok=True)
    _ip("add", name)


def remove(name: str) -> None:
    """Remove the name; the namespace ends when no process is in it any more. Absent is no error."""
    if identity(name) is not None:
        _ip("delete", name)
    else:
        path(name).unlink(missing_ok=True)


def hold(name: str) -> int:
    """An open descriptor of a named namespace, which lives while it is open. Raises `NamespaceError`."""
    try:
        return os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"network namespace {name}: {error.strerror}") from error


def bind_again(name: str, held: int) -> None:
    """Give the namespace `held` its name back, whatever bears it now. Raises `NamespaceError`."""
    target = os.fsencode(path(name))
    if identity(name) is not None and _libc.umount2(target, _MNT_DETACH) != 0:
        raise NamespaceError(f"umount {path(name)}: {os.strerror(ctypes.get_errno())}")
    path(name).touch(mode=0o444)
    if _libc.mount(f"/proc/self/fd/{held}".encode(), target, None, _MS_BIND, None) != 0:
        raise NamespaceError(f"mount on {path(name)}: {os.strerror(ctypes.get_errno())}")


def _ip(verb: str, name: str) -> None:
    done = subprocess.run(["ip", "netns", verb, name], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NamespaceError(f"ip netns {verb} {name}: {done.stderr.strip()}")


def enter(name: str) -> None:
    """Move the calling thread into a named namespace for good. Raises `NamespaceError`."""
    try:
        target = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(
            f"network namespace {name}: {error.strerror}; is egress-netd running?"
        ) from error
    try:
        _setns(target, f"network namespace {name}")
    finally:
        os.close(target)


@contextmanager
def entered(name: str | None) -> Iterator[None]:
    """The calling thread inside a named namespace, or where it is for None. Raises `NamespaceError`."""
    if name is None:
        yield
        return
    with _returning():
        enter(name)
        yield


def leave_all() -> None:
    """Move the calling thread into a new, empty namespace for good. Raises `NamespaceError`."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise NamespaceError(f"a new network namespace: {os.strerror(ctypes.get_errno())}")


@contextmanager
def scratch() -> Iterator[None]:
    """The calling thread inside a new, empty namespace that ends with the block. Raises `NamespaceError`."""
    with _returning():
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise NamespaceError(
                f"a new network namespace: {os.strerror(ctypes.get_errno())};"
                " netd needs CAP_SYS_ADMIN and a kernel with CONFIG_NET_NS"
            )
        yield


@contextmanager
def _returning() -> Iterator[None]:
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield
        finally:
            _return_to(own)
    finally:
        os.close(own)


def _return_to(own: int) -> None:
    """Or end the process: a thread that stays elsewhere would do all its later work there."""
    try:
        _setns(own, "the own network namespace")
    except NamespaceError as error:
        os.write(2, f"egress: {error}; a thread is in a foreign namespace, so the process ends\n".encode())
        os._exit(1)


def _setns(descriptor: int, what: str) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise NamespaceError(f"setns to {what}: {os.strerror(ctypes.get_errno())}")

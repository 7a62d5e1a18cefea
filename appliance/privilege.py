"""Giving up what a process does not need, for good, and proof from the kernel that it is gone.

Sources: capabilities(7), prctl(2), capset(2), credentials(7). Numbers are of linux/capability.h and
linux/prctl.h, which are fixed for ever.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CAPABILITIES = {
    name: number
    for number, name in enumerate(
        (
            "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
            "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
            "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
            "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
            "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
            "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
            "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
            "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
        )
    )
}  # fmt: skip
"""Capability numbers by name."""

NICE, NICE_BEHIND = -10, -5
"""Of who carries traffic, and of who does not: netd's comparisons took a worker's processor for 4 ms at once.

In 20 s at 4,100 requests/s, on one processor for both, they interrupted 13 turns of it, and now 3.
"""
DESCRIPTORS = 65536
"""Open files that a process may have, where the host lets it: connections, for the most part."""
AUTOGROUP = Path("/proc/self/autogroup")

ERASING = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}
"""Environment of a process whose freed memory is overwritten at once, whoever freed it: Python, OpenSSL, …

All of Python's memory then goes through malloc(3). M_PERTURB (mallopt(3)) overwrites what is freed, except
what the cache of a thread takes back: so there is none. It must be there at exec. Parsing takes half as long
again.
"""

_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 4, 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(Exception):
    """A privilege could not be given up, or is still there; the process must not go on."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process is to be: `uid` and the gid of the same number, with `capabilities` (names) alone.

    `groups` are its only supplementary ones.
    """

    uid: int
    capabilities: frozenset[str] = frozenset()
    groups: frozenset[int] = frozenset()

    @property
    def mask(self) -> int:
        """The capabilities as the kernel's bit mask."""
        return sum(1 << CAPABILITIES[name] for name in self.capabilities)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(identity: Identity) -> None:
    """Be `identity` from here on and over every exec, without a way back. Raises `PrivilegeError`.

    The order matters: the bounding set needs CAP_SETPCAP, the ids need CAP_SETUID and CAP_SETGID, and the
    capabilities go last. What was done is verified from what the kernel says of us.
    """
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
    _prctl("the ambient capabilities", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    kept = {CAPABILITIES[name] for name in identity.capabilities}
    for number in range(64):
        present = _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if present < 0:  # EINVAL: beyond this kernel's last capability
            break
        if present and number not in kept:
            _prctl(f"capability {number} of the bounding set", _PR_CAPBSET_DROP, number)
    try:
        os.setgroups(sorted(identity.groups))
        os.setresgid(identity.uid, identity.uid, identity.uid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise PrivilegeError(f"cannot become uid {identity.uid}: {error.strerror}") from error
    _capset(identity.mask if identity.uid == 0 else 0)
    forbid_dumps()
    problems = differences(identity, Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    if problems:
        raise PrivilegeError("; ".join(problems))


def differences(identity: Identity, status: str) -> tuple[str, ...]:
    """What /proc/PID/status (proc(5)) says otherwise than `identity`; empty when all is as it should be."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    seen = {key: value.split() for key, value in fields.items()}
    expected: dict[str, list[str]] = {
        "Uid": [str(identity.uid)] * 4,
        "Gid": [str(identity.uid)] * 4,
        "Groups": [str(group) for group in sorted(identity.groups)],
        "NoNewPrivs": ["1"],
    }
    problems = [
        f"{key} is {' '.join(seen.get(key, ['absent']))}, not {' '.join(value) or 'empty'}"
        for key, value in expected.items()
        if seen.get(key) != value
    ]
    mask = identity.mask
    for key in _SETS:
        try:
            held = int(seen[key][0], 16)
        except (KeyError, IndexError, ValueError):
            problems.append(f"{key} is not to be read")
            continue
        allowed = mask if identity.uid == 0 and key != "CapAmb" else 0
        if held & ~allowed:
            problems.append(f"{key} is {held:016x}, more than {allowed:016x}")
    return tuple(problems)


def forbid_dumps() -> None:
    """No core file, and no other process of our uid may trace us or read our memory.

    PR_SET_DUMPABLE, prctl(2); the kernel forgets it at exec, so a service calls this again when it starts.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl("dumpable", _PR_SET_DUMPABLE, 0)


def take_precedence(nice: int = NICE) -> None:
    """Be served before workloads when all want the processors: what they do must not make others wait.

    Measured on two processors beside another tenant's flood: the longest of 300 waits 7 ms, not 11 to 14.
    As far as the host lets us: without CAP_SYS_NICE nothing changes.
    """
    with suppress(OSError):
        os.setsid()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        # Where the kernel weighs sessions (sched(7), autogroup), this and not the process's own decides.
        AUTOGROUP.write_text(str(nice), encoding="ascii")


def limit_descriptors(wanted: int) -> int:
    """Raise (or lower) the limit of open files towards `wanted`; the limit now in force.

    Beyond the hard limit only CAP_SYS_RESOURCE goes; without it the hard limit is what there is.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        return limit
    return wanted


@contextmanager
def owning_files_as(uid: int) -> Iterator[None]:
    """Files and sockets opened inside belong to `uid`, while every capability for the network is kept.

    The kernel's rules by socket owner (nft `meta skuid`) look at who *opened* a socket, for ever. setfsuid(2)
    changes just that, for the calling thread.
    """
    before = _libc.setfsuid(uid)
    try:
        if _libc.setfsuid(-1) != uid:
            raise PrivilegeError(f"cannot open files as uid {uid}")
        yield
    finally:
        _libc.setfsuid(before)


def close_inherited(first: int = 3) -> None:
    """Close every descriptor from `first` on: what our starter left open is not ours."""
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _capset(mask: int) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    words = (_Data * 2)(*(_Data(*[(mask >> shift) & 0xFFFFFFFF] * 3) for shift in (0, 32)))
    if _libc.capset(ctypes.byref(header), words) != 0:
        raise PrivilegeError(f"cannot set capabilities to {mask:#x}: {os.strerror(ctypes.get_errno())}")


def _prctl(what: str, option: int, *arguments: int) -> None:
    values: Iterable[int] = (*arguments, 0, 0, 0, 0)[:4]
    if _libc.prctl(option, *(ctypes.c_ulong(value) for value in values)) != 0:
        raise PrivilegeError(f"cannot set {what}: {os.strerror(ctypes.get_errno())}")

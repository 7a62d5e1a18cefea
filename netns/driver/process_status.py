"""Is a process as powerless as it was asked to be? Pure, from what proc(5) says of it.

What Docker is asked for is not what the kernel does: runc looks ids up in the image's own /etc/passwd and
/etc/group, and an image may call group 0 `1000`: then `--user 1000:1000` runs with root's group (dockerd
20.10.24 with runc 1.1; the uid itself it takes as a number). So the container's first process is judged by
the kernel's own account of it. Its children can have no more: no_new_privs and an empty bounding set see to
that.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT = frozenset({0})
SECCOMP_FILTER = 2  # linux/seccomp.h SECCOMP_MODE_FILTER
_IDS = ("Uid", "Gid")  # real, effective, saved, file system
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@dataclass(frozen=True, slots=True)
class Roots:
    """Which ids, as we see them, are 0 for us or for the process in its own user namespace."""

    uids: frozenset[int] = ROOT
    gids: frozenset[int] = ROOT


def roots_of(uid_map: str, gid_map: str) -> Roots:
    """From /proc/PID/uid_map and gid_map (user_namespaces(7): inside, outside, count)."""
    return Roots(ROOT | _zero_inside(uid_map), ROOT | _zero_inside(gid_map))


def number_inside(status: str) -> tuple[int, int]:
    """The process id in its own pid namespace, and how many such namespaces deep that is; (0, 0): unknown."""
    numbers = _fields(status).get("NSpid", [])
    try:
        return int(numbers[-1]), len(numbers)
    except (IndexError, ValueError):
        return 0, 0


def problems(status: str, roots: Roots = Roots()) -> tuple[str, ...]:
    """What /proc/PID/status shows that a container of ours may not have; empty when it is as it should be.

    A field that is absent or cannot be read is a problem: a kernel without it enforces nothing.
    """
    fields = _fields(status)
    found = []
    for key, zero in zip(_IDS, (roots.uids, roots.gids), strict=True):
        ids = _numbers(fields.get(key))
        if ids is None or len(ids) != 4:
            found.append(f"{key} is not to be read")
        elif zero & set(ids):
            found.append(f"{key} is {' '.join(map(str, ids))} (root)")
    groups = _numbers(fields.get("Groups"))
    if groups is None:
        found.append("Groups is not to be read")
    elif roots.gids & set(groups):
        found.append(f"Groups is {' '.join(map(str, groups))} (root)")
    for key in _CAPABILITIES:
        held = _numbers(fields.get(key), 16)
        if held is None or len(held) != 1:
            found.append(f"{key} is not to be read")
        elif held[0]:
            found.append(f"{key} is {held[0]:016x}, not 0")
    for key, wanted in (("NoNewPrivs", 1), ("Seccomp", SECCOMP_FILTER)):
        value = fields.get(key)
        if value != [str(wanted)]:
            found.append(f"{key} is {' '.join(value) if value else 'absent'}, not {wanted}")
    return tuple(found)


def _fields(status: str) -> dict[str, list[str]]:
    # Not splitlines(): Name is the process's own choice, and the kernel escapes no other line end in it.
    pairs = (line.split(":", 1) for line in status.split("\n") if ":" in line)
    return {key: value.split() for key, value in pairs}


def _numbers(words: list[str] | None, base: int = 10) -> list[int] | None:
    try:
        return None if words is None else [int(word, base) for word in words]
    except ValueError:
        return None


def _zero_inside(id_map: str) -> frozenset[int]:
    rows = [_numbers(line.split()) for line in id_map.splitlines()]
    return frozenset(row[1] for row in rows if row is not None and len(row) == 3 and row[0] == 0)

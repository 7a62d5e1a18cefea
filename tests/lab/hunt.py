"""Looks for a secret where it must not be: in processes' memory and environment, in files; in every usual form."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

PIECE = 32 << 20
_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ (\d+) *(.*)")


def forms(secret: str) -> dict[str, bytes]:
    """What to look for, by the form's name; base64 as it is in the middle of something longer, too."""
    raw = secret.encode()
    found = {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent": quote(secret, safe="").encode(),
        "every octet escaped": "".join(f"%{octet:02X}" for octet in raw).encode(),
        "utf-16": secret.encode("utf-16-le"),
        "reversed": raw[::-1],
    }
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + raw)
        # Without the characters that what stands before and behind has a part in.
        inner = text[0 if offset == 0 else offset + 1 : len(text) - 4]
        found[f"base64+{offset}"] = inner
        found[f"base64url+{offset}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def _named(needles: dict[str, bytes], data: bytes) -> set[str]:
    return {name for name, needle in needles.items() if needle in data}


def in_memory(pid: int, needles: dict[str, bytes]) -> dict[str, list[str]]:
    """Regions of a process's memory that hold a needle, by the needle's name. Read as root, while it runs."""
    found: dict[str, list[str]] = {}
    longest = max(map(len, needles.values()))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end, label in _regions(pid):
            for at in range(start, end, PIECE):
                try:
                    memory.seek(at)
                    data = memory.read(min(PIECE + longest, end - at))
                except (OSError, ValueError, OverflowError):  # the kernel's own pages cannot be read
                    break
                for name in _named(needles, data):
                    found.setdefault(name, []).append(
                        f"{label or 'anonymous'}@{at:x}+{data.find(needles[name]):x}"
                    )
    return found


def _regions(pid: int) -> Iterator[tuple[int, int, str]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        region = _REGION.match(line)
        if region is not None and region[4] not in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
            yield int(region[1], 16), int(region[2], 16), region[4]


def in_words(pid: int, needles: dict[str, bytes]) -> set[str]:
    """Of its command line and environment."""
    return {
        name
        for file in ("environ", "cmdline")
        for name in _named(needles, Path(f"/proc/{pid}/{file}").read_bytes())
    }


def in_files(directories: Iterable[Path], needles: dict[str, bytes]) -> dict[str, set[str]]:
    """Files below the directories whose content, or name, has a needle."""
    found: dict[str, set[str]] = {}
    for directory in directories:
        for file in directory.rglob("*"):
            names = _named(needles, str(file).encode())
            if file.is_file() and not file.is_symlink():
                names |= _named(needles, file.read_bytes())
            if names:
                found[str(file)] = names
    return found

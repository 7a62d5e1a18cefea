"""Where a process's audit files are, and what each is called.

`<audit_dir>/<process>/<process>.jsonl` is being written; `<process>.<sequence>.jsonl` beside it are full
ones, named by the number of their last record. Each process owns its directory alone: no process can rename,
remove or write another's files, and readers need to be root. The launcher makes the directories.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"(?P<process>[a-z0-9-]+)(?:\.(?P<sequence>[0-9]{12,}))?\.jsonl")


def current_file(audit_dir: Path, process: str) -> Path:
    """The file that the process appends to."""
    return audit_dir / process / f"{process}.jsonl"


def full_file(audit_dir: Path, process: str, sequence: int) -> Path:
    """The name that a file gets when it is full and `sequence` is its last record."""
    return audit_dir / process / f"{process}.{sequence:012d}.jsonl"


def full_files(audit_dir: Path, process: str) -> list[tuple[int, Path]]:
    """Full files with the number of their last record, oldest first."""
    found = []
    for path in (audit_dir / process).iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and name["process"] == process and name["sequence"] is not None:
            found.append((int(name["sequence"]), path))
    return sorted(found)


def chain_files(audit_dir: Path, process: str) -> list[Path]:
    """All files of the process in the order of their records."""
    current = current_file(audit_dir, process)
    return [path for _, path in full_files(audit_dir, process)] + ([current] if current.exists() else [])


def writers(audit_dir: Path) -> list[str]:
    """Processes that have a directory here, in alphabetical order."""
    if not audit_dir.is_dir():
        return []
    return sorted(
        path.name for path in audit_dir.iterdir() if path.is_dir() and _NAME.fullmatch(f"{path.name}.jsonl")
    )

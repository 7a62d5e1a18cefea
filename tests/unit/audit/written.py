"""What a sink has written, and a disk that fills up."""

from __future__ import annotations

import json
import os
from pathlib import Path

from appliance.audit import place
from appliance.audit.chain import Head, seal_text
from appliance.audit.record import LifecycleRecord
from appliance.audit.reserved_file import reserve_beyond_end
from appliance.audit.text import encode
from appliance.audit.verify import Report, verify

EVENT = LifecycleRecord(event="started", detail="x" * 100)


def seal(composed: dict[str, object], head: Head) -> tuple[bytes, Head]:
    """The line for a composed record after `head`, and the new head."""
    return seal_text(encode(composed)[:-1], head)


class Disk:
    """Reserves on the real file system until it is declared full."""

    def __init__(self) -> None:
        self.error: int | None = None

    def __call__(self, descriptor: int, offset: int, length: int) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        reserve_beyond_end(descriptor, offset, length)


def lines(audit_dir: Path, process: str = "p") -> list[dict[str, object]]:
    return [
        json.loads(line)
        for file in place.chain_files(audit_dir, process)
        for line in file.read_bytes().splitlines()
    ]


def checked(audit_dir: Path, process: str = "p") -> Report:
    return verify(place.chain_files(audit_dir, process))

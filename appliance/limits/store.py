"""Ledgers in files that the workers of one appliance map into memory: `<tenant>.<worker>` in one directory.

Each file has one writer, so there is no lock that a dead worker could hold, and no server to wait for. The
counts outlive their worker: killing it gives no tenant a fresh budget. A worker that starts sets what its
predecessor had open to 0; until then those connections still count (closed rather than open).

The cells are native 64-bit integers, which the processors we run on read and write in one piece.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from appliance.limits.ledger import ROW, ROWS, Ledger, Sheet

_CELL = 8
SIZE = ROWS * ROW * _CELL


class LedgerUnavailable(Exception):
    """A tenant's counts cannot be kept, so nothing may be admitted; `str()` says why."""


class LedgerFiles:
    """The files of worker number `worker` out of `workers`."""

    def __init__(self, directory: Path, worker: int, workers: int) -> None:
        self._directory = directory
        self._worker = worker
        self._workers = workers

    def begin(self) -> None:
        """Clear what an earlier process of this worker had open. Raises `LedgerUnavailable`."""
        try:
            for file in self._directory.iterdir():
                if file.suffix == f".{self._worker}":
                    Sheet(_mapped(file, writable=True)).clear_open()
        except OSError as error:
            raise LedgerUnavailable(_worded(self._directory, error)) from error

    def ledger(self, tenant: str) -> Ledger:
        """The ledger of a tenant. Raises `LedgerUnavailable`."""
        try:
            own = Sheet(_mapped(self._file(tenant, self._worker), writable=True))
            others = [
                Sheet(_mapped(self._file(tenant, number), writable=False))
                for number in range(self._workers)
                if number != self._worker
            ]
        except OSError as error:
            raise LedgerUnavailable(_worded(self._directory, error)) from error
        return Ledger(own, others)

    def _file(self, tenant: str, worker: int) -> Path:
        return self._directory / f"{tenant}.{worker}"


def _mapped(file: Path, *, writable: bool) -> memoryview:
    """The file's cells; the file is made, with all its room reserved, by whoever needs it first."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # Reserved, not only as long: a full tmpfs is an error here, and no SIGBUS in the middle of a request.
        os.posix_fallocate(descriptor, 0, SIZE)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(descriptor, SIZE, access=access)).cast("Q")
    finally:
        os.close(descriptor)


def _worded(directory: Path, error: OSError) -> str:
    return f"{directory}: the counts of limits cannot be kept: {error}; it must be writable for the gateway"

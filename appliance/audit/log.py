"""The audit log as its writers see it: claim room first, decide, then write.

A writer that lets something happen claims room before it acts and writes into its claim when it knows the
result. Room that was claimed is on the disk already, so the record of a decision once taken always fits.
"""

from __future__ import annotations

from typing import Protocol

from appliance.audit.record import Record


class AuditUnavailable(Exception):
    """No room can be promised for a record: nothing may be allowed. `str()` names the object and the mend."""


class Claim(Protocol):
    """Room for one record. Ends with the first `write`, `hold` or `release`; later calls do nothing."""

    def write(self, record: Record) -> None:
        """Write the record. Does not wait for the disk. Raises `AuditUnavailable` for a failed device."""

    def hold(self, record: Record) -> None:
        """Have the record written by the next `AuditLog.flush`, together with others."""

    def release(self) -> None:
        """Give the room back unused."""


class AuditLog(Protocol):
    """Where decisions are written. One per process."""

    @property
    def ready(self) -> bool:
        """Whether a claim would be granted now. False: refuse everything with `audit-unavailable`."""

    def claim(self) -> Claim:
        """Room for one record. Raises `AuditUnavailable`."""

    def write(self, record: Record) -> None:
        """Claim and write at once, for a refusal or an event. Raises `AuditUnavailable`."""

    def flush(self) -> None:
        """Write what is held. Raises `AuditUnavailable` when a record held since the last flush is lost."""

"""netd's audit records of what admission refused and stopped."""

from __future__ import annotations

from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import AdmissionRecord, LifecycleRecord
from netns.driver import admission_records
from netns.driver.admission import Refused
from netns.driver.messages import AuthorizationRequest
from netns.plumbing import Attachment


class Journal:
    """Writes to `audit`. A record that cannot be written changes no refusal; it is logged instead."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._log = Logger()

    def unrecordable(self) -> str:
        """Why no record can be promised now, with the mend; empty when one can."""
        try:
            self._audit.claim().release()
        except AuditUnavailable as error:
            return f"audit-unavailable: {error}"
        return ""

    def refused(self, message: AuthorizationRequest, decision: Refused) -> None:
        """A call was refused."""
        self._write(admission_records.of_call(message, decision))

    def stopped(self, attachment: Attachment, container: str, reason: str, why: str) -> None:
        """A container was stopped."""
        self._write(admission_records.of_stop(attachment, container, reason, why))

    def ended(self, container: str, tenant: str, reason: str, why: str) -> None:
        """A container that had no link any more was stopped."""
        self._write(admission_records.of_end(container, tenant, reason, why))

    def resealed(self, attachment: Attachment) -> None:
        """The seal of a running container was undone by somebody, and made again."""
        self._write(
            LifecycleRecord(
                event="repaired",
                subject=f"seal of endpoint {attachment.endpoint[:12]}",
                tenant=attachment.tenant,
                reason="drift",
                detail="the container's embedded DNS was not sealed any more; it was sealed again",
            )
        )

    def admission(self, mend: str, *, on: bool) -> None:
        """The engine asks the plugin no more, or again."""
        if on:
            self._log.warn("dockerd asks the admission plugin again")
        else:
            self._log.error("dockerd asks the admission plugin no more; {mend}", mend=mend)
        self._write(
            LifecycleRecord(
                event="admission-on" if on else "admission-off",
                reason="drift",
                detail="dockerd asks again" if on else f"no container is admitted or judged; {mend}",
            )
        )

    def _write(self, record: AdmissionRecord | LifecycleRecord) -> None:
        try:
            self._audit.write(record)
        except AuditUnavailable as error:
            self._log.error("not recorded: {record}: {error}", record=record, error=str(error))

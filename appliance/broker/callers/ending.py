"""The end of a caller that collided: it may not call from now on, its key is revoked, everybody hears."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.callers.standing import Standing
from appliance.broker.calls.for_caller import CallerAttestation
from appliance.broker.calls.secrets import InThread
from appliance.broker.identity.api_keys import ApiKeys
from appliance.handover import Attestation

Withdraw = Callable[[str], None]
"""Ends what callers that may not call any more have under way, but for the request with that id."""

TRIES, AGAIN = 60, 2.0
"""How often the database is told, every so many seconds."""

_log = Logger()


class CallerEnding:
    """There is no container to stop: `withdraw` ends the caller's calls."""

    def __init__(
        self,
        standing: Standing,
        keys: ApiKeys,
        audit: AuditLog,
        withdraw: Withdraw,
        *,
        in_thread: InThread,
        now: Callable[[], datetime],
        clock: IReactorTime,
    ) -> None:
        self._standing = standing
        self._keys = keys
        self._audit = audit
        self._withdraw = withdraw
        self._in_thread = in_thread
        self._now = now
        self._clock = clock

    def kill(self, attestation: Attestation, reason: str, why: str) -> None:
        """See `means.Kill`. Never raises: the call is refused anyway."""
        assert isinstance(attestation, CallerAttestation)
        caller, standing = attestation.caller, self._standing
        if standing.refusal(caller) is not None:
            return
        standing.end(caller)
        _log.critical(
            "caller {principal} of {tenant} is ended: {reason}",
            principal=caller.principal, tenant=caller.tenant, reason=reason,
        )  # fmt: skip
        record = LifecycleRecord(
            event="caller-ended", subject=caller.key or caller.principal, tenant=caller.tenant,
            outcome=Outcome.DENIED, reason=reason, detail=f"{caller.principal}: {why}",
        )  # fmt: skip
        try:
            self._audit.write(record)
        except AuditUnavailable:
            _log.critical("the end of a caller could not be recorded")
        self._withdraw(attestation.request_id)
        if caller.key is not None:
            Deferred.fromCoroutine(self._revoke(caller.key))

    async def _revoke(self, key: str) -> None:
        """Here it is refused anyway, until the next start."""
        for _ in range(TRIES):
            try:
                await self._in_thread(self._keys.revoke, key, self._now())
            except SQLAlchemyError:
                await deferLater(self._clock, AGAIN)
            else:
                return
        _log.critical("key {key} could not be revoked; run: egress caller revoke {key}", key=key)

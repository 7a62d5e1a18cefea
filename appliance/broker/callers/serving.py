"""Calls for callers that are no containers, wired: what the broker's main starts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from appliance.broker.api.pace import Pace
from appliance.broker.api.telling import Telling
from appliance.broker.callers import executing
from appliance.broker.callers.connection import CallerConnections
from appliance.broker.callers.control import CallerControl
from appliance.broker.callers.ending import CallerEnding
from appliance.broker.callers.executing import CallerExecutions
from appliance.broker.callers.secrets import CallerSecrets
from appliance.broker.callers.standing import ENDED, Standing
from appliance.broker.calls.for_caller import CallerAttestation
from appliance.broker.calls.platform_requests import PlatformRequests
from appliance.broker.calls.under_way import UnderWay
from appliance.broker.identity import key_files
from appliance.broker.identity.api_keys import ApiKeys
from appliance.broker.identity.callers import Callers
from appliance.broker.identity.jwks import Fetch, Jwks
from appliance.broker.identity.jwt_callers import JwtCallers, JwtIssuer
from appliance.broker.identity.trusted_headers import TrustedHeaders
from appliance.outgoing.deadlines import Deadlines

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from twisted.internet.interfaces import IReactorTime

    from appliance.audit.log import AuditLog
    from appliance.broker.calls.call import Call
    from appliance.broker.calls.secrets import InThread
    from appliance.broker.calls.serving import Calls
    from appliance.broker.identity.key_files import KeyFile
    from appliance.control import Operation
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead
    from appliance.policy.tenant import TenantPolicy
    from appliance.settings import CallersSettings, JwtSettings


class CallerInterface:
    """`connections` takes the callers' socket, `operations` are the operator's."""

    def __init__(
        self,
        reactor: Any,
        settings: CallersSettings,
        database: Engine,
        calls: Calls,
        *,
        policy: Callable[[str], TenantPolicy],
        audit: AuditLog,
        in_thread: InThread,
        now: Callable[[], datetime],
    ) -> None:
        """What the settings leave out accepts nobody; API keys count always."""
        keys, standing = ApiKeys(database), Standing(now)
        fetch = PlatformRequests(calls, policy).fetch
        jwt = None if settings.jwt is None else _jwt(settings.jwt, fetch, reactor, now)
        trusted = settings.trusted
        callers = Callers(
            in_thread, now, api_keys=keys, jwt=jwt,
            trusted=None if trusted is None else TrustedHeaders(trusted.tenant, uids=frozenset(trusted.uids)),
        )  # fmt: skip
        ending = CallerEnding(
            standing, keys, audit, self._withdraw, in_thread=in_thread, now=now, clock=reactor
        )
        self._calls, self._under_way = calls, UnderWay()
        self._means = replace(
            calls.means, kill=ending.kill, secrets=CallerSecrets(calls.means.secrets), ended=lambda _: False
        )
        executions = CallerExecutions(
            callers=callers, standing=standing, policy=policy,
            telling=Telling(audit, reactor.seconds), begin_call=self._begin, worker=calls.dials.any_worker,
            pace_of_peers=Pace(executing.OF_PEER_AT_ONCE, executing.OF_PEER_EACH, reactor.seconds),
            pace=Pace(executing.AT_ONCE, executing.EACH, reactor.seconds),
        )  # fmt: skip
        self._deadlines = Deadlines(reactor)
        self.connections = CallerConnections(executions, self._deadlines, partial(secrets.token_hex, 8))
        self._control = CallerControl(keys, standing, audit, self._withdraw, in_thread=in_thread, now=now)

    def operations(self) -> Mapping[str, Operation]:
        """See `control`."""
        return self._control.operations()

    def start(self) -> None:
        """Begin to look after deadlines."""
        self._deadlines.start()

    def stop(self) -> None:
        """No conversation goes on."""
        self._deadlines.stop()
        self.connections.close()

    def _begin(self, connection: Any, attestation: Attestation, head: RequestHead) -> Call:
        call = self._calls.begin_call(connection, attestation, head, self._means)
        self._under_way.add(call)
        return call

    def _withdraw(self, but: str) -> None:
        """See `ending.Withdraw`."""
        self._under_way.end(
            lambda attestation, _: (
                isinstance(attestation, CallerAttestation)
                and attestation.request_id != but
                and attestation.refusal() is not None
            ),
            ENDED,
        )


def _jwt(settings: JwtSettings, fetch: Fetch, clock: IReactorTime, now: Callable[[], datetime]) -> JwtCallers:
    issuer = JwtIssuer(settings.issuer, settings.audience, settings.tenant, frozenset(settings.algorithms))
    keys = _file(settings) if settings.jwks_url is None else Jwks(settings.jwks_url, fetch, clock)
    return JwtCallers(issuer, keys, lambda: now().timestamp())


def _file(settings: JwtSettings) -> KeyFile:
    """Read once now, so that a fault is in the log before anybody calls."""
    if settings.jwks_file is not None:
        found = key_files.key_set_file(settings.jwks_file)
    elif settings.public_key_file is not None:
        found = key_files.public_key_file(settings.public_key_file)
    else:
        assert settings.secret_file is not None
        found = key_files.secret_file(settings.secret_file)
    found.refresh()
    return found

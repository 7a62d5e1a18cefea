"""Who a workload is to the broker: its certificates and its sessions, over the broker's database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.ca import RootAuthority
from appliance.broker.database import DatabaseError, open_database
from appliance.broker.dpop.nonce_key import shared_nonce_key
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.dpop.verifier import Verifier
from appliance.broker.identity.certificates import WorkloadCertificates
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.verification import Trust, WorkloadGate
from appliance.broker.identity.workloads import Workloads
from appliance.broker.replay import Replays
from appliance.broker.session_table import SessionTable
from appliance.broker.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Identities:
    """All of it blocks: in a process with a reactor it belongs in a thread.

    `algorithms` are those of DPoP proofs, `external_roots` those of an operator's own CA for workloads.
    """

    root: RootAuthority
    workloads: Workloads
    certificates: WorkloadCertificates
    gate: WorkloadGate
    sessions: Sessions
    replays: Replays
    algorithms: frozenset[str]
    engine: Engine
    external_roots: tuple[x509.Certificate, ...] = ()

    @property
    def trust(self) -> Trust:
        """What workloads' certificates may lead to."""
        return Trust(self.root.instance, (self.root.certificate, *self.external_roots))

    def expel(self, tenant: str, endpoint: str, container: str, now: datetime) -> None:
        """End what was got over an endpoint, for good: its certificates, and its container's sessions.

        Raises `Denied` and `SQLAlchemyError` where the database does not answer.
        """
        self.workloads.depart(endpoint, now)
        for name in {endpoint, container} - {""}:
            self.workloads.revoke_workload(tenant, name, now)
            self.sessions.revoke_workload(WorkloadId(self.root.instance, tenant, name), now)

    def prune(self, now: datetime) -> int:
        """Remove rows of what is over: certificates, departed endpoints, sessions, used proofs. How many.

        Raises `Denied` and `SQLAlchemyError` where the database does not answer.
        """
        moment = int(now.timestamp())
        return self.workloads.prune(now) + self.sessions.prune(now) + self.replays.prune(moment)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_identities(
    url: str,
    root: RootAuthority,
    now: Callable[[], datetime],
    external_roots: tuple[x509.Certificate, ...] = (),
) -> Identities:
    """Over the database at `url`. Raises `DatabaseError`."""
    engine = open_database(url)
    try:
        nonces = Nonces(shared_nonce_key(engine))
    except SQLAlchemyError as error:
        engine.dispose()
        raise DatabaseError("the database gives no key for nonces; see its own log") from error
    workloads = Workloads(engine)
    replays = Replays(engine)
    verifier = Verifier(replays, nonces)
    return Identities(
        root=root,
        workloads=workloads,
        certificates=WorkloadCertificates(root, workloads, now),
        gate=WorkloadGate(Trust(root.instance, (root.certificate, *external_roots)), workloads),
        sessions=Sessions(SessionTable(engine), verifier),
        replays=replays,
        algorithms=verifier.algorithms,
        engine=engine,
        external_roots=external_roots,
    )

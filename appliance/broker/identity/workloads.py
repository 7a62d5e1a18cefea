"""Which workload certificates count: the database's tables of certificates, endpoints and disabled workloads.

A certificate that is not in the table counts for nothing, whoever signed it. It also stops counting when it
is revoked, its workload is disabled, or the endpoint that it was issued to has departed; each is seen by the
next question, since nothing is kept in memory. Times are whole seconds since 1970. Everything blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from appliance.broker.database import metadata, reading
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.workload import TENANT_NAME

MAX_CERTIFICATES = 8
"""Of an endpoint; a further one takes the place of its oldest."""

MAX_NAME = 128
REMEMBERED = timedelta(days=7)
"""For how long a departed endpoint is known to have been one; Docker never gives its id again."""

workload_endpoints = Table(
    "workload_endpoints",
    metadata,
    Column("endpoint", String(MAX_NAME), primary_key=True),
    Column("tenant", String(32)),
    Column("departed_at", BigInteger),
)
workload_certificates = Table(
    "workload_certificates",
    metadata,
    Column("thumbprint", String(43), primary_key=True),
    Column("serial", String(40), nullable=False, unique=True),
    Column("tenant", String(32), nullable=False),
    Column("workload", String(MAX_NAME), nullable=False),
    Column("endpoint", ForeignKey("workload_endpoints.endpoint", ondelete="CASCADE"), nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("workload_certificates_of_endpoint", "endpoint"),
    Index("workload_certificates_of_workload", "tenant", "workload"),
)
disabled_workloads = Table(
    "disabled_workloads",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("workload", String(MAX_NAME), primary_key=True),
    Column("disabled_at", BigInteger, nullable=False),
)


class EnrolmentRefused(Exception):
    """No certificate: `code` is stable, `detail` one sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the gateway says of the link by which a request came. Raises `ValueError`.

    `container` may be empty: Docker does not always tell it when an endpoint joins.
    """

    endpoint: str
    tenant: str
    container: str = ""

    def __post_init__(self) -> None:
        if not self.endpoint or len(self.endpoint) > MAX_NAME:
            raise ValueError("an attested endpoint has an id of at most 128 characters")
        if not TENANT_NAME.fullmatch(self.tenant):
            raise ValueError("an attested tenant has a tenant's name")

    def identity(self, instance: str) -> WorkloadId:
        """Whom a certificate is to name. Raises `InvalidSpiffeId`."""
        return WorkloadId(instance, self.tenant, self.container or self.endpoint)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a certificate at this moment."""

    serial: str
    tenant: str
    workload: str
    endpoint: str
    not_after: int
    revoked: bool
    disabled: bool
    departed: bool


class Workloads:
    """The tables, by what is done with them."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def record(self, attested: Attestation, certificate: x509.Certificate, name: str, now: datetime) -> None:
        """Let a new certificate of workload `name` count. Raises `EnrolmentRefused`; then it does not."""
        print_of = thumbprint(certificate)
        with self._database.begin() as connection:
            self._check_endpoint(connection, attested)
            if _is_disabled(connection, attested.tenant, name):
                raise EnrolmentRefused("workload_disabled", "the workload is disabled; an operator did it")
            connection.execute(
                insert(workload_certificates).values(
                    thumbprint=print_of,
                    serial=serial_text(certificate),
                    tenant=attested.tenant,
                    workload=name,
                    endpoint=attested.endpoint,
                    issued_at=_seconds(now),
                    not_after=_seconds(certificate.not_valid_after_utc),
                )
            )
            _drop_surplus(connection, attested.endpoint, print_of)

    def _check_endpoint(self, connection: Connection, attested: Attestation) -> None:
        _note_endpoint(connection, attested.endpoint, attested.tenant)
        # Locked, so that a departure at the same moment comes before or after, not between.
        tenant, departed_at = connection.execute(
            select(workload_endpoints.c.tenant, workload_endpoints.c.departed_at)
            .where(workload_endpoints.c.endpoint == attested.endpoint)
            .with_for_update()
        ).one()
        if departed_at is not None:
            raise EnrolmentRefused("workload_departed", "the endpoint has departed")
        if tenant != attested.tenant:
            raise EnrolmentRefused("attestation_conflict", "the endpoint is known as another tenant's")

    def standing(self, thumbprint_: str) -> Standing | None:
        """Of the certificate with this thumbprint; None of one that nobody recorded."""
        certificate, endpoint, disabled = workload_certificates.c, workload_endpoints.c, disabled_workloads.c
        query = (
            select(
                certificate.serial,
                certificate.tenant,
                certificate.workload,
                certificate.endpoint,
                certificate.not_after,
                certificate.revoked_at,
                disabled.disabled_at,
                endpoint.departed_at,
            )
            .join(workload_endpoints, certificate.endpoint == endpoint.endpoint)
            .outerjoin(
                disabled_workloads,
                (certificate.tenant == disabled.tenant) & (certificate.workload == disabled.workload),
            )
            .where(certificate.thumbprint == thumbprint_)
        )
        with reading(self._database) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Standing(
            serial=row.serial,
            tenant=row.tenant,
            workload=row.workload,
            endpoint=row.endpoint,
            not_after=row.not_after,
            revoked=row.revoked_at is not None,
            disabled=row.disabled_at is not None,
            departed=row.departed_at is not None,
        )

    def revoke(self, serial: str, now: datetime) -> bool:
        """End one certificate, by its serial number in hexadecimal. Whether there was one that counted."""
        return self._revoke(workload_certificates.c.serial == serial.lower(), now) > 0

    def revoke_workload(self, tenant: str, workload: str, now: datetime) -> int:
        """End every certificate of a workload, which may enrol again. How many counted."""
        column = workload_certificates.c
        return self._revoke((column.tenant == tenant) & (column.workload == workload), now)

    def _revoke(self, which: object, now: datetime) -> int:
        change = (
            update(workload_certificates)
            .where(which, workload_certificates.c.revoked_at.is_(None))  # type: ignore[arg-type]  # a clause
            .values(revoked_at=_seconds(now))
        )
        with self._database.begin() as connection:
            return connection.execute(change).rowcount

    def disable(self, tenant: str, workload: str, now: datetime) -> None:
        """Refuse a workload from now on: what it holds, and what it asks for."""
        with self._database.begin() as connection:
            if not _is_disabled(connection, tenant, workload):
                connection.execute(
                    insert(disabled_workloads).values(
                        tenant=tenant, workload=workload, disabled_at=_seconds(now)
                    )
                )

    def enable(self, tenant: str, workload: str) -> bool:
        """Take a workload back; certificates that have not ended count again. Whether it was disabled."""
        column = disabled_workloads.c
        with self._database.begin() as connection:
            gone = connection.execute(
                delete(disabled_workloads).where(column.tenant == tenant, column.workload == workload)
            )
            return gone.rowcount > 0

    def depart(self, endpoint: str, now: datetime) -> None:
        """The endpoint's link is gone: nothing that was issued to it counts, nor will anything again."""
        with self._database.begin() as connection:
            _note_endpoint(connection, endpoint, None)
            _depart(connection, [endpoint], now)

    def keep_only(self, live: Iterable[str], now: datetime) -> list[str]:
        """Let every endpoint depart that is not in `live`. Those that did.

        For the start, before anybody is enrolled: an endpoint that joined after `live` was read would depart
        with the others, and for good.
        """
        with self._database.begin() as connection:
            known = connection.scalars(
                select(workload_endpoints.c.endpoint).where(workload_endpoints.c.departed_at.is_(None))
            )
            gone = sorted(set(known) - set(live))
            _depart(connection, gone, now)
        return gone

    def prune(self, now: datetime) -> int:
        """Forget certificates that have expired, and endpoints that departed long ago. How many rows went."""
        with self._database.begin() as connection:
            certificates = connection.execute(
                delete(workload_certificates).where(workload_certificates.c.not_after <= _seconds(now))
            )
            endpoints = connection.execute(
                delete(workload_endpoints).where(
                    workload_endpoints.c.departed_at <= _seconds(now - REMEMBERED)
                )
            )
            return certificates.rowcount + endpoints.rowcount


def serial_text(certificate: x509.Certificate) -> str:
    """A serial number as it is stored, shown and asked for: lower-case hexadecimal."""
    return f"{certificate.serial_number:x}"


def _note_endpoint(connection: Connection, endpoint: str, tenant: str | None) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(workload_endpoints).values(endpoint=endpoint, tenant=tenant))
    except IntegrityError:
        return  # it is there


def _depart(connection: Connection, endpoints: list[str], now: datetime) -> None:
    for endpoint in endpoints:
        connection.execute(
            update(workload_endpoints)
            .where(workload_endpoints.c.endpoint == endpoint, workload_endpoints.c.departed_at.is_(None))
            .values(departed_at=_seconds(now))
        )


def _is_disabled(connection: Connection, tenant: str, workload: str) -> bool:
    column = disabled_workloads.c
    query = select(column.tenant).where(column.tenant == tenant, column.workload == workload)
    return connection.execute(query).first() is not None


def _drop_surplus(connection: Connection, endpoint: str, newest: str) -> None:
    column = workload_certificates.c
    others = connection.scalars(
        select(column.thumbprint)
        .where(column.endpoint == endpoint, column.thumbprint != newest)
        .order_by(column.issued_at.desc(), column.not_after.desc())
        .offset(MAX_CERTIFICATES - 1)
    )
    surplus = list(others)
    if surplus:
        connection.execute(delete(workload_certificates).where(column.thumbprint.in_(surplus)))


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())

"""Secrets of integrations, encrypted in the database, open only while somebody uses one.

What is cleared and what is not. The decrypted octets and the data key stand in buffers that are overwritten
when `reveal` ends, however it ends. What Python makes of them does not stand there: the strings inside the
material, the copies that a parser or a TLS library takes, and the octets of a control message that brought a
secret. Python itself only frees them. In a process that the launcher started they are overwritten when they
are freed (`appliance.privilege.ERASING`); in any other they stay until something else is written there; and
what somebody still refers to stays in both. The KEK stays in memory while the vault is open. Against a reader
of this process's memory only the kernel helps: the broker has a uid of its own, no dumps, and nobody may
trace it (`appliance.privilege.forbid_dumps`); swap should be encrypted or off.

Who can write the database, and has no KEK, can take secrets away or bring an older state back; he can not
read, change, move or make one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Engine, Select, bindparam, delete, insert, select

from appliance.broker.database import reading
from appliance.broker.database_changes import Changes
from appliance.broker.vault.envelope import Damaged, Place, Random, Sealed, clear, seal, unseal
from appliance.broker.vault.errors import (
    DAMAGED,
    INVALID_NAME,
    LOCKED,
    REPLACED,
    UNKNOWN,
    VaultError,
)
from appliance.broker.vault.keyring import UNLOCK, Keyring, described, readable
from appliance.broker.vault.kinds import Material, dump_material, parse_material
from appliance.broker.vault.tables import keyring_table, secrets_table
from appliance.workload import TENANT_NAME

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_MEND = "use up to 64 of A-Z, a-z, 0-9, '.', '_' and '-', a letter or digit first"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 250_000_000_000  # seconds: what a calendar can say, whatever the row says


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What may be known of a secret: everything but its value. `created` is the newest version's."""

    tenant: str
    integration: str
    name: str
    kind: str
    version: int
    versions: tuple[int, ...]
    created: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """One version as it stands in the database.

    After a removal its number may come again; `digest` (SHA-256 of what is sealed) does not.
    """

    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """One version as it is stored, still sealed."""

    place: Place
    sealed: Sealed
    key_id: str

    @property
    def stored(self) -> Stored:
        """Which one it is."""
        return _stored(self.place.version, self.sealed.sealed)


class Opened:
    """A secret in the open until `close`, or until nobody has it any more."""

    __slots__ = ("_buffer", "material")

    def __init__(self, material: Material, buffer: bytearray) -> None:
        self.material = material
        self._buffer = buffer

    def close(self) -> None:
        """Overwrite the decrypted octets; later calls do nothing more."""
        clear(self._buffer)

    def __del__(self) -> None:
        self.close()


class Vault:
    """The secrets of one database. Blocking; every method may be called in any thread.

    `reads` counts how often sealed octets were fetched to be opened, `decryptions` how often any were opened
    or tried: both stay as they are when a call is refused before.
    """

    def __init__(self, engine: Engine, random: Random = secrets.token_bytes) -> None:
        self.keyring = Keyring(engine, random)
        self.changes = Changes(engine)
        """Of any table. To be asked in one thread alone."""
        self.reads = 0
        self.decryptions = 0
        self._engine = engine
        self._random = random
        self._counting = threading.Lock()

    def put(self, tenant: str, integration: str, name: str, material: Material, now: datetime) -> int:
        """Store a new version, the newest from now on; its number. Raises `VaultError`."""
        check_names(tenant, integration, name)
        with readable(), self._engine.begin() as connection:
            return self._store(connection, Place(tenant, integration, name, 0, material.kind), material, now)

    def rotate(
        self,
        tenant: str,
        integration: str,
        name: str,
        material: Material,
        now: datetime,
        *,
        keep: int = 1,
        expected: Stored | None = None,
    ) -> int:
        """Store a new version of what exists; of the old ones the newest `keep` stay. Raises `VaultError`.

        With `expected` only in the place of that very version: `secret-replaced` when it is not the newest.
        """
        check_names(tenant, integration, name)
        with readable(), self._engine.begin() as connection:
            place = Place(tenant, integration, name, 0, material.kind)
            version = self._store(connection, place, material, now, only_existing=True, expected=expected)
            kept = (
                select(secrets_table.c.version)
                .where(*_of(tenant, integration, name))
                .order_by(secrets_table.c.version.desc())
                .limit(keep + 1)
            )
            oldest = min(connection.scalars(kept).all())
            connection.execute(
                delete(secrets_table).where(*_of(tenant, integration, name), secrets_table.c.version < oldest)
            )
            return version

    def remove(self, tenant: str, integration: str, name: str, version: int | None = None) -> int:
        """Remove every version, or one; how many. Also of a locked vault. Raises `VaultError`."""
        check_names(tenant, integration, name)
        chosen = [] if version is None else [secrets_table.c.version == version]
        with readable(), self._engine.begin() as connection:
            # A rotation at the same moment comes before, and goes as well, or after, and finds nothing.
            connection.execute(select(keyring_table.c.id).with_for_update())
            gone = connection.execute(
                delete(secrets_table).where(*_of(tenant, integration, name), *chosen)
            ).rowcount
        if not gone:
            raise _unknown(tenant, integration, name, version)
        return gone

    def versions(self, tenant: str, integration: str, name: str) -> tuple[int, ...]:
        """The numbers of what is stored, oldest first. Raises `VaultError` (`unknown-secret`)."""
        check_names(tenant, integration, name)
        found = [info for info in self.names(tenant) if (info.integration, info.name) == (integration, name)]
        if not found:
            raise _unknown(tenant, integration, name, None)
        return found[0].versions

    def names(self, tenant: str | None = None) -> list[SecretInfo]:
        """Every secret, or one tenant's, without values. Also of a locked vault. Raises `VaultError`."""
        c = secrets_table.c
        query = select(c.tenant, c.integration, c.name, c.version, c.kind, c.created).order_by(
            c.tenant, c.integration, c.name, c.version
        )
        with readable(), reading(self._engine) as connection:
            rows = connection.execute(query if tenant is None else query.where(c.tenant == tenant)).all()
        infos: dict[tuple[str, str, str], SecretInfo] = {}
        for row in rows:
            before = infos.get((row.tenant, row.integration, row.name))
            infos[row.tenant, row.integration, row.name] = SecretInfo(
                row.tenant,
                row.integration,
                row.name,
                row.kind,
                row.version,
                (*(before.versions if before else ()), row.version),
                _EPOCH + timedelta(seconds=min(max(row.created, 0), _LAST)),
            )
        return list(infos.values())

    def close(self) -> None:
        """Forget the KEK and leave the database."""
        self.keyring.lock()
        self.changes.close()
        self._engine.dispose()

    @contextmanager
    def reveal(
        self, tenant: str, integration: str, name: str, version: int | None = None
    ) -> Iterator[Material]:
        """`find` and `opened` in one: blocks, decrypts, clears at the end. Raises `VaultError`."""
        with self.opened(self.find(tenant, integration, name, version)) as material:
            yield material

    def find(self, tenant: str, integration: str, name: str, version: int | None = None) -> Found:
        """The newest version, or one, still sealed. Asks the database. Raises `VaultError`."""
        check_names(tenant, integration, name)
        with self.keyring.using(), self._counting:
            self.reads += 1
        wanted = {"tenant": tenant, "integration": integration, "name": name, "version": version}
        with readable(), reading(self._engine) as connection:
            row = connection.execute(_NEWEST if version is None else _ONE, wanted).first()
        if row is None:
            raise _unknown(tenant, integration, name, version)
        place = Place(tenant, integration, name, row.version, row.kind)
        if not isinstance(row.wrapped, bytes) or not isinstance(row.sealed, bytes):
            raise _damaged(place)  # SQLite keeps text where octets should be
        return Found(place, Sealed(row.wrapped, row.sealed), row.key_id)

    @contextmanager
    def opened(self, found: Found) -> Iterator[Material]:
        """What is sealed, for as long as the block lasts; asks no database. Raises `VaultError`.

        Keep nothing of the material beyond the block.
        """
        opened = self.open(found)
        try:
            yield opened.material
        finally:
            opened.close()

    def open(self, found: Found) -> Opened:
        """As `opened`, for who closes it himself, as calls do: 15 us less of each than by generators."""
        with self._counting:
            self.decryptions += 1
        with self.keyring.using() as held:
            if found.key_id != held.key_id:
                raise VaultError(LOCKED, UNLOCK)
            try:
                buffer = unseal(held.kek, found.place, found.sealed)
            except Damaged:
                raise _damaged(found.place) from None
        try:
            return Opened(_parsed(buffer, found.place), buffer)
        except BaseException:
            clear(buffer)
            raise

    def _store(
        self,
        connection: Connection,
        place: Place,
        material: Material,
        now: datetime,
        *,
        only_existing: bool = False,
        expected: Stored | None = None,
    ) -> int:
        """Only one at a time gets past `using`, so no two take the same number."""
        c = secrets_table.c
        with self.keyring.using(connection) as held:
            newest = connection.execute(
                select(c.version, c.sealed)
                .where(*_of(place.tenant, place.integration, place.name))
                .order_by(c.version.desc())
                .limit(1)
            ).first()
            if newest is None and only_existing:
                raise _unknown(place.tenant, place.integration, place.name, None)
            if expected is not None and (
                newest is None or _stored(newest.version, newest.sealed) != expected
            ):
                raise VaultError(REPLACED, "another version was stored meanwhile; nothing was changed")
            place = replace(place, version=(newest.version if newest else 0) + 1)
            plaintext = bytearray(dump_material(material))
            try:
                sealed = seal(held.kek, place, plaintext, self._random)
            finally:
                clear(plaintext)
            connection.execute(
                insert(secrets_table).values(
                    tenant=place.tenant,
                    integration=place.integration,
                    name=place.name,
                    version=place.version,
                    kind=place.kind,
                    created=int(now.timestamp()),
                    wrapped=sealed.wrapped,
                    sealed=sealed.sealed,
                )
            )
        return place.version


def _sealed() -> Select[Any]:
    c = secrets_table.c
    key_id = select(keyring_table.c.key_id).scalar_subquery()
    return (
        select(c.version, c.kind, c.wrapped, c.sealed, key_id.label("key_id"))
        .where(*(c[name] == bindparam(name) for name in ("tenant", "integration", "name")))
        .order_by(c.version.desc())
        .limit(1)
    )


# Made once: to put one together takes as long as to ask SQLite for it.
_NEWEST = _sealed()
_ONE = _NEWEST.where(secrets_table.c.version == bindparam("version"))


def _of(tenant: str, integration: str, name: str) -> tuple[ColumnElement[bool], ...]:
    columns = secrets_table.c
    return (columns.tenant == tenant, columns.integration == integration, columns.name == name)


def _stored(version: int, sealed: object) -> Stored:
    """SQLite keeps text where octets should be: that is nobody's version."""
    return Stored(version, hashlib.sha256(sealed).digest() if isinstance(sealed, bytes) else b"")


def check_names(tenant: str, integration: str | None = None, name: str | None = None) -> None:
    """Raise `VaultError` (`invalid-name`). Quotes nothing: the secret may stand where its name should."""
    if not TENANT_NAME.fullmatch(tenant):
        raise VaultError(INVALID_NAME, "that is no name of a tenant")
    if integration is not None and not NAME.fullmatch(integration):
        raise VaultError(INVALID_NAME, f"that is no name of an integration; {NAME_MEND}")
    if name is not None and not NAME.fullmatch(name):
        raise VaultError(INVALID_NAME, f"that is no name of a secret; {NAME_MEND}")


def _parsed(buffer: bytearray, place: Place) -> Material:
    try:
        material = parse_material(cast("bytes", buffer), stored=True)
    except ValueError:
        raise _damaged(place) from None
    if material.kind != place.kind:
        raise _damaged(place)
    return material


def _unknown(tenant: str, integration: str, name: str, version: int | None) -> VaultError:
    which = "" if version is None else f" of version {version}"
    return VaultError(UNKNOWN, f"tenant {tenant} has no secret {integration}/{name}{which}")


def _damaged(place: Place) -> VaultError:
    return VaultError(DAMAGED, f"{described(place)} does not open: changed, moved or cut; set it again")

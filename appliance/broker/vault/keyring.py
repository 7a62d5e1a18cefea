"""Which KEK is in use: its first, its proof at each start, its change.

    new      nothing was ever kept; the first KEK that is used or chosen becomes the vault's
    locked   a KEK is chosen and we do not hold it
    open     we hold it

A change wraps every data key anew in one transaction: afterwards the old KEK opens nothing of the database,
and after a failure the new one does not. The secrets themselves are not sealed anew: who had the old KEK and
a copy of the database keeps what he has, so after a theft rotate the secrets, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.database import reading
from appliance.broker.vault import kek as keys
from appliance.broker.vault.envelope import (
    KEY,
    Damaged,
    KeyEncryption,
    LocalKey,
    Place,
    Random,
    bound,
    rewrap,
)
from appliance.broker.vault.errors import DAMAGED, LOCKED, UNREADABLE, WRONG_PASSPHRASE, VaultError
from appliance.broker.vault.tables import keyring_table, secrets_table

NEW_PASSPHRASE = "the vault has no passphrase yet; choose one: egress vault unlock"  # noqa: S105 - a sentence
UNLOCK = "the vault is locked; unlock it: egress vault unlock"


class Source(StrEnum):
    """Where the vault's KEK comes from."""

    KEY_FILE = "key-file"
    PASSPHRASE = "passphrase"  # noqa: S105 - a word
    EXTERNAL = "external"


class State(StrEnum):
    """What can be done with the vault now."""

    NEW = "new"
    LOCKED = "locked"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Entry:
    """The keyring's row."""

    key_id: str
    source: Source
    parameters: keys.Argon2 | None
    proof: bytes

    @property
    def bound(self) -> bytes:
        """Associated data of the proof."""
        return bound("egress vault 1", "proof", self.key_id, self.source)


@dataclass(slots=True)
class Held:
    """A KEK in use, closed after its last user when another took its place."""

    kek: KeyEncryption
    key_id: str
    users: int = 0
    retired: bool = False


class Keyring:
    """Holds the KEK. Everything that asks the database blocks; every method may be called in any thread."""

    def __init__(self, engine: Engine, random: Random) -> None:
        self._engine = engine
        self._random = random
        self._mutex = threading.Lock()
        self._deriving = threading.Lock()  # one Argon2id at a time: it takes much memory
        self._held: Held | None = None

    def entry(self) -> Entry | None:
        """What the database says of the KEK; `None` for a new vault. Raises `VaultError`."""
        with readable(), reading(self._engine) as connection:
            return _entry(connection)

    def state(self) -> State:
        """What can be done now. Raises `VaultError`."""
        entry = self.entry()
        if entry is None:
            return State.NEW
        with self._mutex:
            return State.OPEN if self._held and self._held.key_id == entry.key_id else State.LOCKED

    def unlock(self, passphrase: str) -> None:
        """Open with a passphrase. Raises `VaultError`: `wrong-passphrase`, or one that says why not."""
        entry = self.entry()
        if entry is None:
            raise VaultError(LOCKED, NEW_PASSPHRASE)
        if entry.source is not Source.PASSPHRASE or entry.parameters is None:
            raise _other(entry, Source.PASSPHRASE)
        with self._derived(passphrase, entry.parameters) as key:
            if not _proves(key, entry):
                raise VaultError(
                    WRONG_PASSPHRASE, "the passphrase is wrong, or of another database; try another"
                )
            self._hold(key, entry.key_id)

    def choose(self, passphrase: str) -> None:
        """Make this the first passphrase of a new vault. Raises `VaultError`."""
        keys.check_new(passphrase)
        parameters = keys.new_parameters(self._random)
        with self._derived(passphrase, parameters) as key:
            self._hold(key, self._first(key, Source.PASSPHRASE, parameters))

    def use(self, kek: KeyEncryption, source: Source) -> None:
        """Open with a KEK that is at hand; for a new vault it becomes the KEK. Raises `VaultError`."""
        entry = self.entry()
        if entry is None:
            self._hold(kek, self._first(kek, source, None))
            return
        if entry.source is not source:
            raise _other(entry, source)
        if not _proves(kek, entry):
            raise VaultError(
                UNREADABLE, f"the {source} does not belong to this database; restore the one that does"
            )
        self._hold(kek, entry.key_id)

    def change_passphrase(self, passphrase: str) -> int:
        """Wrap every data key anew for a passphrase; how many. Raises `VaultError`."""
        keys.check_new(passphrase)
        parameters = keys.new_parameters(self._random)
        with self._derived(passphrase, parameters) as key:
            return self._change(key, Source.PASSPHRASE, parameters)

    def change(self, kek: KeyEncryption, source: Source) -> int:
        """Wrap every data key anew for `kek`; how many. Raises `VaultError`, and then all is as before."""
        return self._change(kek, source, None)

    def lock(self) -> None:
        """Forget the KEK."""
        with self._mutex:
            self._replace(None)

    @contextmanager
    def using(self, connection: Connection | None = None) -> Iterator[Held]:
        """The KEK, not closed before the block ends. Raises `VaultError` (`vault-locked`).

        With a `connection` whose transaction is to write: no KEK is changed before it ends, and this one is
        the database's.
        """
        current = None if connection is None else _entry(connection, keep=True)
        with self._mutex:
            held = self._held
            if held is None or (connection is not None and (not current or current.key_id != held.key_id)):
                raise VaultError(LOCKED, UNLOCK)
            held.users += 1
        try:
            yield held
        finally:
            with self._mutex:
                held.users -= 1
                self._close_unused(held)

    @contextmanager
    def _derived(self, passphrase: str, parameters: keys.Argon2) -> Iterator[LocalKey]:
        with self._deriving:
            key = LocalKey(keys.derive(passphrase, parameters), self._random)
        try:
            yield key
        except BaseException:
            key.close()
            raise

    def _first(self, kek: KeyEncryption, source: Source, parameters: keys.Argon2 | None) -> str:
        with readable(), self._engine.begin() as connection:
            if _entry(connection, keep=True) is not None:
                raise VaultError(UNREADABLE, "the vault has a key already; unlock it: egress vault unlock")
            if connection.execute(select(secrets_table.c.tenant).limit(1)).first():
                raise VaultError(UNREADABLE, "the vault has lost its keyring; restore the database")
            draft = self._draft(source, parameters)
            connection.execute(insert(keyring_table).values(id=1, **_columns(draft, kek)))
            return draft.key_id

    def _change(self, kek: KeyEncryption, source: Source, parameters: keys.Argon2 | None) -> int:
        with readable(), self._engine.begin() as connection, self.using(connection) as held:
            draft = self._draft(source, parameters)
            connection.execute(update(keyring_table).values(**_columns(draft, kek)))
            rows = connection.execute(select(secrets_table)).all()
            for row in rows:
                place = Place(row.tenant, row.integration, row.name, row.version, row.kind)
                try:
                    wrapped = rewrap(held.kek, kek, place, row.wrapped)
                except Damaged:
                    raise VaultError(
                        DAMAGED, f"{described(place)} does not open; remove it, then try again"
                    ) from None
                connection.execute(update(secrets_table).where(*at(place)).values(wrapped=wrapped))
        self._hold(kek, draft.key_id)
        return len(rows)

    def _draft(self, source: Source, parameters: keys.Argon2 | None) -> Entry:
        return Entry(self._random(16).hex(), source, parameters, b"")

    def _hold(self, kek: KeyEncryption, key_id: str) -> None:
        with self._mutex:
            self._replace(Held(kek, key_id))

    def _replace(self, held: Held | None) -> None:
        before, self._held = self._held, held
        if before is not None:
            before.retired = True
            self._close_unused(before)

    @staticmethod
    def _close_unused(held: Held) -> None:
        if held.retired and not held.users:
            held.kek.close()


@contextmanager
def readable() -> Iterator[None]:
    """What the database cannot do is the vault's refusal, without the statement and its parameters."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        raise VaultError(UNREADABLE, f"the vault's database fails ({reason}); mend that") from error


def at(place: Place) -> tuple[ColumnElement[bool], ...]:
    """The conditions that choose one version's row."""
    columns = secrets_table.c
    return (
        columns.tenant == place.tenant,
        columns.integration == place.integration,
        columns.name == place.name,
        columns.version == place.version,
    )


def described(place: Place) -> str:
    """One version for people."""
    return f"version {place.version} of {place.integration}/{place.name} of tenant {place.tenant}"


def _entry(connection: Connection, *, keep: bool = False) -> Entry | None:
    query = select(keyring_table)
    row = connection.execute(query.with_for_update() if keep else query).one_or_none()
    if row is None:
        return None
    try:
        source = Source(row.source)
        parameters = keys.Argon2(row.salt, row.passes, row.memory, row.lanes) if row.salt else None
    except (ValueError, TypeError):
        raise VaultError(UNREADABLE, "the vault's keyring is damaged; restore the database") from None
    return Entry(row.key_id, source, parameters, row.proof)


def _columns(draft: Entry, kek: KeyEncryption) -> dict[str, object]:
    parameters = draft.parameters
    return {
        "key_id": draft.key_id,
        "source": draft.source.value,
        "salt": parameters and parameters.salt,
        "passes": parameters and parameters.passes,
        "memory": parameters and parameters.memory,
        "lanes": parameters and parameters.lanes,
        "proof": kek.wrap(bytes(KEY), draft.bound),
    }


def _other(entry: Entry, source: Source) -> VaultError:
    return VaultError(
        UNREADABLE,
        f"the vault's key is of the kind {entry.source}, not {source}; set vault.unlock accordingly",
    )


def _proves(kek: KeyEncryption, entry: Entry) -> bool:
    try:
        return kek.unwrap(entry.proof, entry.bound) == bytes(KEY)
    except Damaged:
        return False

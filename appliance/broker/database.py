"""The broker's database: SQLite in a file of its own by default, PostgreSQL by URL.

Each module of the broker that stores something defines its tables on `metadata`; `open_database` makes those
that are not there yet. Everything here blocks: in a process with a reactor it belongs in a thread.

A transaction of `engine.begin()` may write. On SQLite it takes the file's write lock at once, so that two
never wait for each other; `reading` takes none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

SCHEMA_VERSION = 1
"""Of the tables' meaning. A new table keeps it; a changed one needs a step from the version before."""

SQLITE_WAIT = 10.0
"""Seconds to wait for another writer's lock."""

CONNECT_WAIT = 10
"""Seconds to wait for a PostgreSQL server."""

_ADVISORY_LOCK = 0x65677265  # any number, the same for every broker: one makes the tables at a time
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # what was acknowledged is there after a power failure
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # a removed row is overwritten, not only forgotten
    "PRAGMA trusted_schema=OFF",
)

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)


class DatabaseError(Exception):
    """The database cannot be used; `str()` is one sentence that names it, and the mend."""


def open_database(url: str) -> Engine:
    """The database at `url`, with every table of `metadata`. Raises `DatabaseError`.

    `sqlite:////var/lib/egress/vault/broker.db`: made with mode 0600 where absent, in an existing directory
    that is the caller's alone. `postgresql://user@host/name?sslmode=verify-full&passfile=/…`, or over a Unix
    socket `postgresql:///name?host=/run/postgresql`. No parameter of a statement appears in a message.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise DatabaseError(f"the database's URL cannot be read; {_WRITE_A_URL}") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = _open_sqlite(parsed)
    elif backend == "postgresql":
        engine = _open_postgresql(parsed)
    else:
        raise DatabaseError(f"{backend!r} is no database that we know; {_WRITE_A_URL}")
    try:
        _make_tables(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise DatabaseError(f"{_named(parsed)}: {_reason(error)}; {_MENDS[backend]}") from error
    except DatabaseError:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes nothing, and on SQLite waits for no writer."""
    with engine.connect() as connection:
        yield connection.execution_options(reading=True)


def _open_sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    if not path.is_absolute() or url.query:
        raise DatabaseError(f"{_named(url)}: not the absolute path of one file; {_WRITE_A_URL}")
    _prepare_file(path)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": SQLITE_WAIT},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, record: Any) -> None:
    del record
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _prepare_file(path: Path) -> None:
    """Make the file, or see that nobody else may touch it; SQLite gives its journals the same mode."""
    try:
        folder = path.parent.lstat()
        if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.geteuid() or folder.st_mode & 0o077:
            mend = f"chown {os.geteuid()} {path.parent} && chmod 700 {path.parent}"
            raise DatabaseError(f"{path.parent}: not a directory of uid {os.geteuid()} alone; run: {mend}")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise DatabaseError(f"{path}: not a regular file; move it away")
            if found.st_uid != os.geteuid():
                raise DatabaseError(f"{path}: owned by uid {found.st_uid}; run: chown {os.geteuid()} {path}")
            if found.st_mode & 0o077:
                raise DatabaseError(f"{path}: others may use it; run: chmod 600 {path}")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DatabaseError(f"{error.filename or path}: {error.strerror}; {_MENDS['sqlite']}") from error


def _open_postgresql(url: URL) -> Engine:
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise DatabaseError(f"{_named(url)}: the driver is psycopg; write postgresql://…")
    if url.password is not None:
        raise DatabaseError(
            f"{_named(url)}: other processes can read a password in the settings; put it into a file of the"
            " broker's and name that: ?passfile=/…"
        )
    if _over_a_network(url) and url.query.get("sslmode") != "verify-full":
        raise DatabaseError(
            f"{_named(url)}: anybody on the way could answer for it; add ?sslmode=verify-full"
        )
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": CONNECT_WAIT, "application_name": "egress-broker"},
        hide_parameters=True,
        pool_pre_ping=True,
    )


def _over_a_network(url: URL) -> bool:
    named = url.query.get("host", ())
    hosts = [url.host or "", *([named] if isinstance(named, str) else named)]
    return not all(_local(host) for text in hosts for host in text.split(","))


def _local(host: str) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _make_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            (said,) = connection.exec_driver_sql("PRAGMA quick_check(1)").one()
            if said != "ok":
                raise DatabaseError(
                    f"{_named(engine.url)}: damaged ({' '.join(said.split())}); {_MENDS['sqlite']}"
                )
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        present = set(inspect(connection).get_table_names())
        if schema_version.name in present:
            version = connection.scalar(select(schema_version.c.version))
            if version != SCHEMA_VERSION:
                raise DatabaseError(
                    f"{_named(engine.url)}: has tables of version {version}, this program needs"
                    f" {SCHEMA_VERSION}; start the version of the appliance that made it"
                )
        elif taken := present & set(metadata.tables):
            raise DatabaseError(
                f"{_named(engine.url)}: has a table {min(taken)!r} that is not ours; name an empty database"
            )
        metadata.create_all(connection)
        if schema_version.name not in present:
            connection.execute(insert(schema_version).values(id=1, version=SCHEMA_VERSION))


def _named(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


def _reason(error: SQLAlchemyError) -> str:
    """The driver's own words, on one line: SQLAlchemy's carry the statement as well."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__


_WRITE_A_URL = "write sqlite:////absolute/path or postgresql://user@host/name"
_MENDS = {
    "sqlite": "free space or restore the file from a backup, then start again",
    "postgresql": "see that the server runs and lets this user in, then start again",
}

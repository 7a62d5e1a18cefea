"""SQLite's word on changes, from connections of this process and of another."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine

from appliance.broker.database import open_database, reading
from appliance.broker.database_changes import Changes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    folder = tmp_path / "a ?#%41 name"
    folder.mkdir(mode=0o700)
    engine = open_database(f"sqlite:///{quote(str(folder / 'broker.db'))}")
    yield engine
    engine.dispose()


@pytest.fixture
def changes(engine: Engine) -> Iterator[Changes]:
    made = Changes(engine)
    yield made
    made.close()


def write(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = version + 1")


def test_while_nothing_is_written_the_state_stays(engine: Engine, changes: Changes) -> None:
    first = changes.state()
    assert first is not None
    with reading(engine) as connection:
        connection.exec_driver_sql("SELECT * FROM schema_version").all()
    assert changes.state() == first


def test_each_commit_of_our_own_makes_another(engine: Engine, changes: Changes) -> None:
    states = [changes.state()]
    for _ in range(20):
        write(engine)
        states.append(changes.state())
    assert None not in states
    assert len(set(states)) == len(states)


def test_a_commit_in_another_thread_makes_another(engine: Engine, changes: Changes) -> None:
    first = changes.state()
    thread = threading.Thread(target=write, args=(engine,))
    thread.start()
    thread.join()
    assert changes.state() != first


def test_a_commit_of_another_process_makes_another(engine: Engine, changes: Changes) -> None:
    first = changes.state()
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute('UPDATE schema_version SET version = version + 1'); c.commit()"
    )
    subprocess.run([sys.executable, "-c", program, str(engine.url.database)], check=True, timeout=30)
    assert changes.state() != first


def test_what_is_not_committed_changes_nothing(engine: Engine, changes: Changes) -> None:
    first = changes.state()
    with engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("UPDATE schema_version SET version = version + 1")
        assert changes.state() == first  # nor does it wait for the writer
        transaction.rollback()
    assert changes.state() == first


def test_no_question_holds_up_a_checkpoint(engine: Engine, changes: Changes) -> None:
    changes.state()
    write(engine)
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy


def test_the_states_of_two_connections_are_never_the_same(changes: Changes) -> None:
    first = changes.state()
    changes.close()
    assert changes.state() not in (None, first)


def test_a_database_that_cannot_be_asked_has_no_state(engine: Engine, changes: Changes) -> None:
    locked = sqlite3.connect(str(engine.url.database), isolation_level=None)
    engine.dispose()
    locked.execute("PRAGMA locking_mode=EXCLUSIVE")
    locked.execute("BEGIN IMMEDIATE")
    locked.execute("UPDATE schema_version SET version = version + 1")
    assert changes.state() is None
    locked.close()
    assert changes.state() is not None


def test_no_file_is_made_where_there_is_none(engine: Engine) -> None:
    engine.dispose()
    file = Path(str(engine.url.database))
    file.unlink()
    assert Changes(engine).state() is None
    assert not file.exists()


def test_postgresql_tells_no_state(database: Engine) -> None:
    told = Changes(database)
    assert (told.state() is None) == (database.dialect.name == "postgresql")
    told.close()

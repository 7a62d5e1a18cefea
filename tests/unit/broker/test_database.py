"""appliance.broker.database: one behaviour on SQLite and PostgreSQL, in nobody else's reach."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, StatementError

from appliance.broker import database as module
from appliance.broker.database import DatabaseError, metadata, open_database, reading, schema_version

PROBE = Table(
    "database_probe", metadata, Column("id", Integer, primary_key=True), Column("octets", LargeBinary)
)


def refused(url: str) -> str:
    with pytest.raises(DatabaseError) as caught:
        open_database(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sqlite_file(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder / "broker.db"


def test_003_32_every_table_is_made_and_a_second_start_finds_them(
    database: Engine, database_url: str
) -> None:
    assert set(metadata.tables) <= set(inspect(database).get_table_names())
    with database.begin() as connection:
        connection.execute(insert(PROBE).values(id=1, octets=b"\x00\xff"))
    again = open_database(database_url)
    with reading(again) as connection:
        assert connection.execute(select(PROBE.c.octets)).scalar_one() == b"\x00\xff"
    again.dispose()


def test_003_32_a_failed_transaction_leaves_nothing(database: Engine) -> None:
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(PROBE).values(id=1))
        connection.execute(insert(PROBE).values(id=1))
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(PROBE)).scalar_one() == 0


def test_003_32_writers_in_threads_lose_no_update(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(insert(PROBE).values(id=1, octets=b""))

    def append(octet: bytes) -> None:
        for _ in range(10):
            with database.begin() as connection:
                found = select(PROBE.c.octets).where(PROBE.c.id == 1).with_for_update()
                octets = connection.execute(found).scalar_one()
                connection.execute(update(PROBE).where(PROBE.c.id == 1).values(octets=octets + octet))

    threads = [threading.Thread(target=append, args=(octet,)) for octet in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(database) as connection:
        assert len(connection.execute(select(PROBE.c.octets)).scalar_one()) == 30


def test_a_reader_waits_for_no_writer(database: Engine) -> None:
    with database.begin() as writing:
        writing.execute(insert(PROBE).values(id=1))
        with reading(database) as connection:
            assert connection.execute(select(PROBE.c.id)).all() == []


def test_tables_of_another_version_are_left_alone(database: Engine, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(update(schema_version).values(version=99))
    assert "version 99, this program needs 1" in refused(database_url)


def test_tables_of_somebody_else_are_left_alone(database: Engine, database_url: str) -> None:
    with database.begin() as connection:
        schema_version.drop(connection)
    assert re.search("a table '[a-z_]+' that is not ours", refused(database_url))


def test_parameters_are_in_no_message(database: Engine) -> None:
    with pytest.raises(StatementError) as caught, database.begin() as connection:
        connection.execute(text("INSERT INTO absent VALUES (:value)"), {"value": "canary-5fe1"})
    assert "canary-5fe1" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "the database's URL cannot be read; write sqlite:////"),
        ("mysql://host/name", "'mysql' is no database that we know"),
        ("sqlite://", "not the absolute path of one file"),
        ("sqlite:///relative.db", "not the absolute path of one file"),
        ("sqlite:///file:/a.db?uri=true", "not the absolute path of one file"),
        ("postgresql+psycopg2://h/n", "the driver is psycopg"),
        ("postgresql://u:canary@h/n?sslmode=verify-full", "?passfile=/"),
        ("postgresql://u@db.example/n", "add ?sslmode=verify-full"),
        ("postgresql://u@db.example/n?sslmode=require", "add ?sslmode=verify-full"),
        ("postgresql://u@/n?host=/run/x,db.example", "add ?sslmode=verify-full"),
        ("postgresql://u@/n?host=/run/x&host=db.example", "add ?sslmode=verify-full"),
        ("postgresql://u@127.0.0.1:1/n", "see that the server runs"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence(url: str, words: str) -> None:
    said = refused(url)
    assert words in said
    assert "canary" not in said


def test_the_file_and_its_journals_are_the_owners_alone(tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "d")
    before = os.umask(0)
    try:
        engine = open_database(f"sqlite:///{file}")
        with engine.begin() as connection:
            connection.execute(insert(PROBE).values(id=1))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert set(modes) == {"broker.db", "broker.db-wal", "broker.db-shm"}
    assert set(modes.values()) == {0o600}
    engine.dispose()


def test_what_was_removed_is_overwritten(tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "d")
    canary = b"canary-77aa"
    engine = open_database(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(insert(PROBE).values(id=1, octets=canary * 3))
    engine.dispose()  # the last connection brings the write-ahead log home and removes it
    assert canary in file.read_bytes()
    engine = open_database(f"sqlite:///{file}")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
        connection.execute(PROBE.delete())
    engine.dispose()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert canary not in file.read_bytes()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.chmod(0o640), "others may use it; run: chmod 600"),
        (lambda file: file.parent.chmod(0o750), "alone; run: chown"),
        (
            lambda file: file.write_bytes(b"no database" * 100),
            "file is not a database; free space or restore",
        ),
        (lambda file: (file.unlink(), file.symlink_to("/dev/null")), "restore the file"),
        (lambda file: (file.unlink(), file.mkdir()), "restore the file"),
        (lambda file: (file.unlink(), os.mkfifo(file, 0o600)), "not a regular file"),
    ],
    ids=["file-mode", "folder-mode", "garbage", "link", "folder", "pipe"],
)
def test_a_file_that_others_touched_is_refused(tmp_path: Path, spoil: object, words: str) -> None:
    file = sqlite_file(tmp_path / "d")
    open_database(f"sqlite:///{file}").dispose()
    spoil(file)  # type: ignore[operator]  # a function of the file
    assert words in refused(f"sqlite:///{file}")


def test_a_damaged_page_is_found_at_the_start(tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "d")
    engine = open_database(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(insert(PROBE), [{"id": n, "octets": bytes(500)} for n in range(200)])
    engine.dispose()
    octets = bytearray(file.read_bytes())
    octets[-4096 * 3 : -4096] = b"\xa5" * 8192
    file.write_bytes(octets)
    assert "restore the file from a backup" in refused(f"sqlite:///{file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_uid_is_refused(tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "d")
    open_database(f"sqlite:///{file}").dispose()
    os.chown(file, 12345, 12345)
    assert "owned by uid 12345; run: chown" in refused(f"sqlite:///{file}")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> int:
        raise OSError(28, "No space left on device", str(tmp_path / "d" / "broker.db"))

    file = sqlite_file(tmp_path / "d")
    monkeypatch.setattr(module.os, "open", full)
    assert "No space left on device; free space" in refused(f"sqlite:///{file}")

"""`database`: an empty one of each kind, with every table that the test's imports define.

PostgreSQL is started once for all tests of a process: a private server of an unprivileged user, which listens on
nothing but a Unix socket in a directory that is nobody else's. Without its programs the tests fail, they are not
skipped: `./bootstrap` installs them.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from appliance.broker.database import open_database

USER = "postgres"
STARTED_WITHIN = 60.0
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=8MB",
           "listen_addresses=", "unix_socket_permissions=0700", "max_connections=50", "log_min_messages=fatal")  # fmt: skip


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if not found:
        pytest.fail("PostgreSQL is not installed: run ./bootstrap")
    return found[-1].parent


def _as_unprivileged(*command: str) -> list[str]:
    """The server ends with its starter, however that ends; it refuses to run as root."""
    change = ["--reuid", USER, "--regid", USER, "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *change, "--pdeathsig", "INT", *command]


class Server:
    """A running PostgreSQL below `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._url = f"postgresql+psycopg://{USER}@/postgres?host={home}"

    def url(self, schema: str) -> str:
        return f"{self._url}&options=-csearch_path%3D{schema}"

    def execute(self, statement: str) -> None:
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + STARTED_WITHIN
        while True:
            try:
                return self.execute("SELECT 1")
            except OperationalError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    programs = _programs()
    home = Path(tempfile.mkdtemp(prefix="egress-pg-", dir="/tmp"))
    process: subprocess.Popen[bytes] | None = None
    try:
        if os.geteuid() == 0:
            os.chown(home, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        data = str(home / "data")
        initdb = (
            str(programs / "initdb"),
            "-D",
            data,
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        subprocess.run(_as_unprivileged(*initdb), check=True, capture_output=True, cwd=home)
        options = [word for option in OPTIONS for word in ("-c", option)]
        started = (str(programs / "postgres"), "-D", data, "-k", str(home), *options)
        process = subprocess.Popen(_as_unprivileged(*started), cwd=home, stderr=subprocess.DEVNULL)
        server = Server(home)
        server.wait(process)
        yield server
    finally:
        if process is not None:
            process.send_signal(2)  # SIGINT: "fast shutdown", which waits for no client
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, in which nothing was made."""
    if request.param == "sqlite":
        folder = tmp_path / "database"
        folder.mkdir(mode=0o700)
        yield f"sqlite:///{folder / 'broker.db'}"
        return
    server: Server = request.getfixturevalue("postgresql")
    schema = f"test_{secrets.token_hex(6)}"
    server.execute(f"CREATE SCHEMA {schema}")
    try:
        yield server.url(schema)
    finally:
        server.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    try:
        yield engine
    finally:
        engine.dispose()

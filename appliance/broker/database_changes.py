"""Whether anything in the database has changed: for SQLite a question of some microseconds.

`PRAGMA data_version` gives another number on a connection once any other connection, of this process or of
another, has committed something (sqlite.org/pragma.html). The connection here does nothing but ask, so that
no change is its own. PostgreSQL has no such number: what is there is to be read.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine


class Changes:
    """Of one database. To be asked and closed in one thread, the one that asks first."""

    def __init__(self, engine: Engine) -> None:
        """Nothing is opened yet."""
        self._file = engine.url.database if engine.dialect.name == "sqlite" else None
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def state(self) -> tuple[int, int] | None:
        """Another one after each commit; None where it cannot be told without waiting."""
        if self._file is None:
            return None
        try:
            if self._connection is None:
                self._opened += 1  # the numbers of two connections say nothing of one another
                self._connection = sqlite3.connect(
                    f"{Path(self._file).as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None
                )
            # Read to its end: a statement that is under way would keep seeing what it saw at first.
            ((number,),) = self._connection.execute("PRAGMA data_version").fetchall()
        except sqlite3.Error:
            self.close()
            return None
        return self._opened, number

    def close(self) -> None:
        """Leave the database; who asks again comes back."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

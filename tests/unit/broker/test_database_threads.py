"""Threads of the database's own: as many as there are, a bounded queue, and nobody else waits for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance.broker.database_threads import THREADS, WAITING, DatabaseBusy, DatabaseThreads


class Threads(TestCase):
    def setUp(self) -> None:
        self.slow = threading.Event()
        self.addCleanup(self.slow.set)

    def made(self, threads: int, waiting: int) -> DatabaseThreads:
        made = DatabaseThreads(reactor, threads, waiting)
        made.start()

        def stop() -> None:
            self.slow.set()
            made.stop()

        self.addCleanup(stop)
        return made

    def wait(self, what: object = None) -> object:
        assert self.slow.wait(30)
        return what

    async def test_it_runs_elsewhere_and_tells_what_came_of_it(self) -> None:
        run = self.made(2, 2)
        assert await run(threading.current_thread) is not threading.current_thread()
        assert await run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await run(divmod, 1, 0)

    async def test_more_than_may_wait_is_refused_at_once_and_what_waits_is_done(self) -> None:
        run = self.made(2, 3)
        waiting = [run(self.wait, number) for number in range(5)]
        for _ in range(3):
            with pytest.raises(DatabaseBusy):
                await run(self.wait)
        self.slow.set()
        assert await gatherResults(waiting) == [0, 1, 2, 3, 4]
        assert await run(divmod, 7, 2) == (3, 1)

    async def test_no_more_threads_than_were_asked_for(self) -> None:
        run = self.made(2, 100)
        before = threading.active_count()
        waiting = [run(self.wait) for _ in range(50)]
        await deferLater(reactor, 0.05)
        assert threading.active_count() <= before + 3  # the pool's own coordinator is one
        self.slow.set()
        await gatherResults(waiting)

    async def test_while_the_database_is_slow_others_have_threads(self) -> None:
        run = self.made(THREADS, WAITING)
        waiting = [run(self.wait) for _ in range(THREADS + WAITING)]
        assert await deferToThread(divmod, 7, 2) == (3, 1)
        assert not any(each.called for each in waiting)
        self.slow.set()
        await gatherResults(waiting)

    async def test_who_cancels_waits_no_longer_and_counts_until_it_is_done(self) -> None:
        run = self.made(1, 0)
        cancelled = run(self.wait)
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await cancelled
        with pytest.raises(DatabaseBusy):
            await run(self.wait)
        self.slow.set()
        await deferLater(reactor, 0.1)
        assert await run(divmod, 7, 2) == (3, 1)


def test_nothing_of_the_broker_takes_threads_that_others_need() -> None:
    for file in (Path(__file__).parents[3] / "appliance" / "broker").rglob("*.py"):
        assert "deferToThread" not in file.read_text(encoding="utf-8"), file


def test_a_request_that_finds_no_room_is_refused_like_where_the_database_is_away() -> None:
    assert issubclass(DatabaseBusy, SQLAlchemyError)

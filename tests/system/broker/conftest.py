"""One world for all tests here: it is put up in half a minute. No test may need to be the first."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.bound import BoundWorld, stand_bound

HERE = Path(__file__).parent
_put_up = pytest.StashKey[ExitStack]()


@pytest.fixture(scope="session")
def _standing(request: pytest.FixtureRequest) -> Callable[[], BoundWorld]:
    worlds: list[BoundWorld] = []
    stack = request.session.stash[_put_up] = ExitStack()

    def standing() -> BoundWorld:
        if not worlds:
            worlds.append(stack.enter_context(stand_bound()))
            stack.callback(worlds.clear)
        return worlds[0]

    return standing


@pytest.fixture(scope="module")
def bound(_standing: Callable[[], BoundWorld]) -> BoundWorld:
    return _standing()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """After the last test here the world goes: what follows has a lab of its own, and there is one at a time.

    A fixture cannot say so: to pytest these directories are no packages, and a session lasts to the end.
    """
    yield
    if _put_up in item.session.stash and (nextitem is None or HERE not in nextitem.path.parents):
        item.session.stash[_put_up].close()

"""A change on disk becomes a reload, once; nothing is missed for longer than the net's interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from appliance.policy.reloads import Reloads
from appliance.policy.store import PolicyStore
from appliance.policy.watch import LOOK_AGAIN_SECONDS, SETTLE_SECONDS, PolicyWatch
from appliance.settings import Settings

OPEN, SHUT = "profile: read-only-web\n", "profile: allowlist\n"


class FakeNotifier:
    """Records what is watched; `touch` is an event."""

    made: list[FakeNotifier]

    def __init__(self) -> None:
        self.watched: dict[str, Any] = {}
        self.reading = False
        FakeNotifier.made.append(self)

    def startReading(self) -> None:
        self.reading = True

    def watch(self, path: Any, mask: int = 0, *, callbacks: Any = ()) -> None:
        assert mask
        self.watched[path.path] = callbacks

    def loseConnection(self) -> None:
        self.reading = False

    def touch(self, path: Path) -> None:
        for callback in self.watched[str(path)]:
            callback(None, path, 0)


class CountingStore(PolicyStore):
    reloads = 0

    def reloading(self) -> Any:
        self.reloads += 1
        return super().reloading()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    FakeNotifier.made = []
    made = Settings(config_dir=tmp_path)
    made.tenants_dir.mkdir()
    (made.tenants_dir / "acme.yaml").write_text(OPEN)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watching(settings: Settings, clock: Clock) -> tuple[CountingStore, PolicyWatch]:
    store = CountingStore(settings)
    watch = PolicyWatch(Reloads(store, clock), settings, clock, FakeNotifier)
    watch.start()
    return store, watch


def profile(store: PolicyStore) -> str:
    return str(store.current.for_tenant("acme").profile)


def test_the_start_loads_and_watches_what_is_there(settings: Settings, clock: Clock) -> None:
    store, _ = watching(settings, clock)
    assert profile(store) == "read-only-web"
    (notifier,) = FakeNotifier.made
    assert notifier.reading
    assert set(notifier.watched) == {str(settings.config_dir), str(settings.tenants_dir)}


def test_a_burst_of_events_is_one_reload(settings: Settings, clock: Clock) -> None:
    store, _ = watching(settings, clock)
    (settings.tenants_dir / "acme.yaml").write_text(SHUT)
    for _ in range(5):
        FakeNotifier.made[0].touch(settings.tenants_dir)
    assert store.reloads == 1
    clock.advance(SETTLE_SECONDS)
    assert store.reloads == 2
    assert profile(store) == "allowlist"


def test_a_stream_of_events_does_not_put_a_reload_off(settings: Settings, clock: Clock) -> None:
    store, _ = watching(settings, clock)
    for _ in range(10):
        FakeNotifier.made[0].touch(settings.tenants_dir)
        clock.advance(SETTLE_SECONDS / 2)
    assert store.reloads >= 4


def test_a_lost_event_costs_seconds(settings: Settings, clock: Clock) -> None:
    store, _ = watching(settings, clock)
    (settings.tenants_dir / "acme.yaml").write_text(SHUT)
    clock.advance(LOOK_AGAIN_SECONDS)
    clock.advance(SETTLE_SECONDS)
    assert profile(store) == "allowlist"
    clock.advance(LOOK_AGAIN_SECONDS)
    clock.advance(SETTLE_SECONDS)
    assert store.reloads == 2


def test_a_directory_put_in_anothers_place_is_watched_anew(settings: Settings, clock: Clock) -> None:
    store, _ = watching(settings, clock)
    settings.tenants_dir.rename(settings.config_dir / "old")
    settings.tenants_dir.mkdir()
    (settings.tenants_dir / "acme.yaml").write_text(SHUT)
    FakeNotifier.made[0].touch(settings.config_dir)
    clock.advance(SETTLE_SECONDS)
    assert profile(store) == "allowlist"
    assert [n.reading for n in FakeNotifier.made] == [False, True]


@pytest.mark.parametrize("place", ["integrations/crm.yaml", "accounts.yaml"])
def test_accounts_and_definitions_are_watched(settings: Settings, clock: Clock, place: str) -> None:
    settings.integrations_dir.mkdir()
    (settings.config_dir / "accounts.yaml").write_text("{}")
    store, _ = watching(settings, clock)
    assert str(settings.integrations_dir) in FakeNotifier.made[0].watched
    (settings.config_dir / place).write_text("{ }")
    clock.advance(LOOK_AGAIN_SECONDS)  # no event came
    clock.advance(SETTLE_SECONDS)
    assert store.reloads == 2


def test_stopped_is_stopped(settings: Settings, clock: Clock) -> None:
    store, watch = watching(settings, clock)
    FakeNotifier.made[0].touch(settings.tenants_dir)
    watch.stop()
    clock.advance(10 * LOOK_AGAIN_SECONDS)
    assert store.reloads == 1
    assert not clock.getDelayedCalls()
    assert not FakeNotifier.made[0].reading


def test_the_real_notifier_has_what_is_needed(settings: Settings, clock: Clock) -> None:
    from twisted.internet import inotify
    from twisted.internet.epollreactor import EPollReactor

    reactor = EPollReactor()
    store = CountingStore(settings)
    watch = PolicyWatch(Reloads(store, clock), settings, clock, lambda: inotify.INotify(reactor))
    watch.start()
    try:
        (settings.tenants_dir / "acme.yaml").write_text(SHUT)
        reactor.doIteration(5)
        clock.advance(SETTLE_SECONDS)
        assert profile(store) == "allowlist"
    finally:
        watch.stop()
        for reader in reactor.removeAll():
            reader.connectionLost(None)
        reactor._poller.close()

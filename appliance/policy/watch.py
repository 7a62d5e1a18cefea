"""Reloads policy documents when they change on disk (inotify(7)), once a burst of changes is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from twisted.internet import inotify
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from appliance.policy.reloads import Reloads
from appliance.settings import Settings

_log = Logger()

SETTLE_SECONDS = 0.2  # an editor writes, renames and removes within this
LOOK_AGAIN_SECONDS = 5.0  # the net below a lost event, a full event queue, a directory that appears

_MASK = (
    inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM | inotify.IN_DELETE
    | inotify.IN_CREATE | inotify.IN_ATTRIB
)  # fmt: skip

_Stamp = tuple[
    str, int, int, int, int, int
]  # path, device, inode, mode, size, nanoseconds of the last change


class Notifier(Protocol):
    """What is needed of `twisted.internet.inotify.INotify`."""

    def startReading(self) -> None:
        """Begin to deliver events."""

    def watch(self, path: Any, mask: int = ..., *, callbacks: Any = ...) -> Any:
        """Watch a directory."""

    def loseConnection(self) -> None:
        """Stop, for good."""


class PolicyWatch:
    """Asks for a reload after changes of the documents that `settings` points to.

    `notifier` makes an `INotify`: a new one is needed whenever a directory was put in another's place,
    because Twisted's gives up all its directories when one of them is deleted.
    """

    def __init__(
        self, reloads: Reloads, settings: Settings, clock: IReactorTime, notifier: Callable[[], Notifier]
    ) -> None:
        self._reloads = reloads
        self._files = (settings.operator_file, settings.accounts_file)
        self._directories = (
            settings.config_dir, settings.tenants_dir, settings.policies_dir, settings.integrations_dir,
        )  # fmt: skip
        self._clock = clock
        self._make_notifier = notifier
        self._notifier: Notifier | None = None
        self._watched: list[tuple[str, int, int]] = []
        self._seen: list[_Stamp] = []
        self._settling: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None

    def start(self) -> None:
        """Load the policies, all at once, and watch from now on."""
        self._see()
        self._reloads.store.reload()
        self._looking = self._clock.callLater(LOOK_AGAIN_SECONDS, self._look)

    def stop(self) -> None:
        """Watch no more."""
        for call in (self._settling, self._looking):
            if call is not None and call.active():
                call.cancel()
        self._unwatch()

    def _look(self) -> None:
        self._looking = self._clock.callLater(LOOK_AGAIN_SECONDS, self._look)
        if self._stamps() != self._seen:
            self._changed()

    def _changed(self, *event: object) -> None:
        del event
        if self._settling is not None and self._settling.active():
            return  # not put off: a stream of events must not keep a new rule out for ever
        self._settling = self._clock.callLater(SETTLE_SECONDS, self._reload)

    def _reload(self) -> None:
        self._see()
        self._reloads.ask().addErrback(lambda failure: _log.failure("policies were not read", failure))

    def _see(self) -> None:
        # Before anything is read: what changes while the documents are read is then seen as a change.
        self._watch()
        self._seen = self._stamps()

    def _watch(self) -> None:
        found = [(path, device, inode) for path, device, inode, *_ in map(_stamp, self._directories) if inode]
        if found == self._watched:
            return
        self._unwatch()
        self._watched = found
        self._notifier = self._make_notifier()
        self._notifier.startReading()
        for path, *_ in found:
            self._notifier.watch(FilePath(path), _MASK, callbacks=[self._changed])

    def _unwatch(self) -> None:
        if self._notifier is not None:
            self._notifier.loseConnection()
        self._notifier = None

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths()]

    def _paths(self) -> Iterator[Path]:
        yield from self._files
        for directory in self._directories:
            yield directory
            yield from sorted(directory.glob("*.yaml"))


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0, 0, 0
    return str(path), found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns

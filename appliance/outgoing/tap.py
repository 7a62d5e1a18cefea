"""Back-pressure from one transport to another, without either being able to end the other."""

from __future__ import annotations

from typing import Any


class Tap:
    """Lets a consumer slow down where its bytes come from.

    Unlike a transport it never ends it: when the consumer is lost, the session decides what becomes of the
    other side.
    """

    __slots__ = ("pauseProducing", "resumeProducing")

    def __init__(self, source: Any) -> None:
        self.pauseProducing = source.pauseProducing
        self.resumeProducing = source.resumeProducing

    def stopProducing(self) -> None:
        """See the class."""

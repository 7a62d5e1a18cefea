"""Back-pressure that can end nothing."""

from __future__ import annotations

from appliance.outgoing.tap import Tap


class Source:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_the_source_is_slowed_and_never_ended() -> None:
    source = Source()
    tap = Tap(source)
    tap.pauseProducing()
    tap.resumeProducing()
    tap.stopProducing()
    assert source.told == ["pause", "resume"]

"""Steps, each a line that says whether it held, and each with a bound in time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType

from tests.provision.commands import Failed


class Report:
    """What held and what did not, within a bound of all; names are of steps."""

    def __init__(self, run_within: float) -> None:
        self.failed: list[str] = []
        self.held = 0
        self._end = time.monotonic() + run_within

    def step(self, name: str, act: Callable[[], str], within: float) -> bool:
        """Do it; whether it held. What `act` returns stands behind the name, a figure say."""
        began = time.monotonic()
        previous = signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, min(within, self._end - began)))
        try:
            detail = act()
        except Failed as failed:
            detail, held = str(failed), False
        except TimeoutError:
            detail, held = "not done in time", False
        else:
            held = True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        words = f"{name} ({time.monotonic() - began:.0f} s)" + (f": {detail}" if detail else "")
        print(f"{'ok     ' if held else 'FAILED '}{words}", flush=True)
        if held:
            self.held += 1
        else:
            self.failed.append(name)
        return held

    def left_out(self, name: str, why: str) -> None:
        """A step that could not be tried has not held."""
        print(f"FAILED {name}: not tried: {why}", flush=True)
        self.failed.append(name)


def _late(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise TimeoutError

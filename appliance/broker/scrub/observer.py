"""A log observer that passes on nothing which has not been scrubbed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.broker.scrub.text import scrub_error, scrub_text

_KEPT = ("log_level", "log_time")
_UNSCRUBBED = "an event of the log could not be scrubbed"


@implementer(ILogObserver)
class ScrubbingObserver:
    """Events become one line of text each, with its level, time and namespace: no other field goes on.

    The text is formatted first: a secret in two fields side by side is found too. Failures are told by their
    traceback, without the values of variables.
    """

    def __init__(self, observer: ILogObserver, octets: Callable[[bytes], bytes]) -> None:
        """`octets` scrubs by what is live at the time."""
        self._observer = observer
        self._octets = octets

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on. When it cannot be scrubbed, only that."""
        try:
            passed = self._scrubbed(event)
        except Exception:  # noqa: BLE001 - whatever it was, the event does not go on
            passed = {"log_format": _UNSCRUBBED, "log_level": LogLevel.critical}
            passed |= {key: event[key] for key in ("log_time",) if isinstance(event.get(key), float)}
        self._observer(passed)

    def _scrubbed(self, event: LogEvent) -> LogEvent:
        text = scrub_text(formatEvent(event), self._octets)
        failure = event.get("log_failure")
        if isinstance(failure, Failure) and failure.value is not None:
            text += "\n" + scrub_error(failure.value, self._octets)
        namespace = scrub_text(str(event.get("log_namespace", "")), self._octets)
        kept = {key: event[key] for key in _KEPT if key in event}
        return {"log_format": "{text}", "text": text, "log_namespace": namespace, **kept}

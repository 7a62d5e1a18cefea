"""Nothing reaches the log that was not scrubbed (004-38, 004-40)."""

from __future__ import annotations

from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from appliance.broker.scrub.observer import ScrubbingObserver
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.stream import marker

SECRET = "swordfish-7-swordfish"


def logged(octets: object = None) -> tuple[list[LogEvent], Logger]:
    events: list[LogEvent] = []
    scrub = octets or Scrubber([SECRET.encode()]).octets
    return events, Logger(namespace="broker", observer=ScrubbingObserver(events.append, scrub))  # type: ignore[arg-type]


def test_004_40_fields_and_the_format_itself_are_scrubbed() -> None:
    events, log = logged()
    log.info("call {account} failed: {error}", account="acme", error=SECRET)
    built = f"told {SECRET}"
    log.error(built)
    log.info("{a}{b}", a=SECRET[:9], b=SECRET[9:])
    texts = [formatEvent(event) for event in events]
    assert texts == [
        f"call acme failed: {marker('secret').decode()}",
        "told [scrubbed:secret]",
        "[scrubbed:secret]",
    ]
    assert [event["log_level"] for event in events] == [LogLevel.info, LogLevel.error, LogLevel.info]
    assert events[0]["log_namespace"] == "broker"
    assert SECRET not in repr(events)


def test_braces_in_what_was_scrubbed_mean_nothing() -> None:
    events, log = logged()
    log.info("{said}", said="{other}")
    assert formatEvent(events[0]) == "{other}"


def test_004_38_a_failure_is_told_without_variables_and_scrubbed() -> None:
    events, log = logged()
    hidden = f"{SECRET}-hidden"
    try:
        raise ValueError(f"{hidden[:21]} is bad")  # noqa: TRY301 - its traceback is what is looked at
    except ValueError:
        log.failure("call failed")
    text = formatEvent(events[0])
    assert text.startswith("call failed\nTraceback")
    assert text.rstrip().endswith("ValueError: [scrubbed:secret] is bad")
    assert SECRET not in repr(events)
    assert "log_failure" not in events[0]
    assert not any(isinstance(value, Failure) for value in events[0].values())


def test_004_40_an_event_that_cannot_be_scrubbed_is_only_counted() -> None:
    def broken(_: bytes) -> bytes:
        raise RuntimeError(SECRET)

    events, log = logged(broken)
    log.info("told {secret}", secret=SECRET)
    assert formatEvent(events[0]) == "an event of the log could not be scrubbed"
    assert events[0]["log_level"] is LogLevel.critical
    assert set(events[0]) == {"log_format", "log_level", "log_time"}

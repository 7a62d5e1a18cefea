"""What is gathered of a token endpoint's answer; with a real server in the test of the providers."""

from __future__ import annotations

from appliance.broker.calls.token_endpoint import _Gathering
from appliance.broker.credentials.outgoing import NoAnswer
from appliance.http1.refused import UpstreamInvalid


class Gone:
    def abort(self) -> None:
        pass


def test_whatever_ends_early_is_no_answer() -> None:
    for end in ("response_missing", "response_failed", "response_broken"):
        gathering = _Gathering(Gone())
        failures: list = []
        gathering.answered.addErrback(failures.append)
        arguments = [UpstreamInvalid("obs-fold", "x")] if end == "response_broken" else []
        getattr(gathering, end)(*arguments)
        getattr(gathering, end)(*arguments)
        assert isinstance(failures[0].value, NoAnswer)

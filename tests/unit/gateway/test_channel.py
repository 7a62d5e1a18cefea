from __future__ import annotations

from appliance.audit.record import Interception

from .support import caller, plain, secured


def test_what_the_record_says_of_a_channel() -> None:
    assert plain().tls is Interception.NONE
    assert secured().tls is Interception.INTERCEPTED
    assert caller().source == "172.18.0.2:40000"

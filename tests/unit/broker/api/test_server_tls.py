"""The broker's own certificate."""

from __future__ import annotations

from datetime import timedelta

from appliance.broker.api.server_tls import RENEWED_AFTER, ServerTls
from appliance.broker.identity.verification import Trust
from tests.unit.broker.identity.peers import INSTANCE, NOW, make_root


def test_it_is_made_once_and_anew_long_before_it_ends() -> None:
    moment = [NOW]
    root = make_root()
    tls = ServerTls(root, Trust(INSTANCE, (root.certificate,)), lambda: moment[0])
    tls.connection()
    first = tls._context
    moment[0] += RENEWED_AFTER - timedelta(seconds=1)
    tls.connection()
    assert tls._context is first
    moment[0] += timedelta(seconds=1)
    tls.connection()
    assert tls._context is not first

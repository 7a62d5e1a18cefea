"""appliance.tls.profile: forward secrecy and AEAD, nothing older."""

from __future__ import annotations

from OpenSSL import SSL

from appliance.tls.profile import restrict


def test_only_forward_secret_aead_suites_are_left() -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    restrict(context)
    suites = SSL.Connection(context, None).get_cipher_list()
    assert suites
    for suite in suites:
        assert suite.startswith(("TLS_", "ECDHE-", "DHE-"))
        assert "GCM" in suite or "POLY1305" in suite

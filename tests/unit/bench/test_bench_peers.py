"""What peers are told, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import peers

KINDS = (peers.SQUID, peers.ENVOY, peers.HAPROXY, peers.TINYPROXY)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_configuration_is_rendered_whole(kind: peers.Kind) -> None:
    text = peers.render(kind.config, Path("/srv/here"))
    assert "$" not in text
    assert "bench.example.com" in text or kind is peers.TINYPROXY  # its list of names is a file of its own


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Squid Cache: Version 5.7\nService Name: squid\n", "5.7"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
        ("envoy  version: 0d3f7a/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
        ("", "unknown"),
    ],
)
def test_a_version_is_found(said: str, version: str) -> None:
    assert peers.version_in(said) == version


def test_a_peer_that_is_not_there_is_missing() -> None:
    kind = peers.Kind("absent", "no-such-proxy", (), "squid.conf", ())
    with pytest.raises(peers.PeerMissing, match="no-such-proxy"):
        kind.executable()

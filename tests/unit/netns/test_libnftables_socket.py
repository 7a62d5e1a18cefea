"""The library exits when it gets no socket, so it is not asked then."""

import socket

import pytest

from netns import libnftables, nft


class NeverAsked:
    def nft_ctx_new(self, flags):
        raise AssertionError("the real one would have ended this process")


@pytest.fixture
def _no_socket(monkeypatch):
    def too_many(*_arguments):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(libnftables, "_library", NeverAsked)
    monkeypatch.setattr(socket, "socket", too_many)


@pytest.mark.usefixtures("_no_socket")
def test_without_a_netlink_socket_there_is_no_context():
    with pytest.raises(libnftables.Refused, match="no netlink socket: Too many open files"):
        libnftables.Context()
    with pytest.raises(nft.NftError, match="no netlink socket"):
        nft.change("table ip probe")

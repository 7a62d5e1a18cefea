"""A link's mark. That the kernel puts it on accepted sockets, tests/system/netns shows."""

from __future__ import annotations

import socket

from appliance.links import TENANT_BIT, accepted_mark, link_mark


def test_marks_tell_links_apart_and_all_have_the_bit() -> None:
    marks = {link_mark(f"{number:064x}") for number in range(1000)}
    assert len(marks) == 1000
    assert all(mark & TENANT_BIT and 0 < mark < 2**32 for mark in marks)


def test_a_connection_of_no_container_has_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
        with accepted:
            assert accepted_mark(accepted) == 0


class Marked:
    def getsockopt(self, level: int, name: int) -> int:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_MARK)
        return -1  # the kernel's u32, read as an int


def test_the_highest_bit_is_no_sign() -> None:
    assert accepted_mark(Marked()) == 0xFFFFFFFF  # type: ignore[arg-type]  # all that is asked of a socket

"""A witness that is not there, was started anew or lost packets proves nothing; nor does an Internet that is silent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import pytest

from tests.provision import witness
from tests.provision.commands import Failed, Said
from tests.provision.workload import FORBIDDEN, SITE_ADDRESS

if TYPE_CHECKING:
    from tests.provision.target import Target

BEGAN = "5.000 began 77"
SITE = f"7.000 packet 6 {SITE_ADDRESS} 443"
OUT = f"7.000 packet 17 {FORBIDDEN[0]} 80"


class Host:
    """A target whose witness notes marks as long as it is alive."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.alive = True
        self.lost = 0

    def run(self, *words: str) -> Said:
        if self.alive:
            self.lines.append(f"8.000 mark {words[-1]} {self.lost}")
        return Said(0, "", "")

    def read(self, path: str) -> str:
        assert path == witness.RECORD
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def target(self) -> Target:
        return cast("Target", self)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "NOTED_WITHIN", 0.01)


def test_what_came_since_a_mark_is_told() -> None:
    host = Host(BEGAN, OUT)
    since = witness.mark(host.target)
    host.lines.append(SITE)
    assert witness.reached(host.target, since) == {SITE_ADDRESS}
    assert since.began == 5.0


def test_nothing_got_out_where_all_was_seen() -> None:
    host = Host(BEGAN)
    since = witness.mark(host.target)
    host.lines.append(SITE)
    witness.nothing_got_out(host.target, since)


@pytest.mark.parametrize("before", [True, False])
def test_a_trespass_is_told_whenever_it_was(*, before: bool) -> None:
    host = Host(BEGAN, *([OUT] if before else []))
    since = witness.mark(host.target)
    host.lines += [SITE, *([] if before else [OUT])]
    with pytest.raises(Failed, match=re.escape(FORBIDDEN[0])):
        witness.nothing_got_out(host.target, since)


def test_an_allowed_request_of_before_proves_nothing() -> None:
    host = Host(BEGAN, SITE)
    since = witness.mark(host.target)
    with pytest.raises(Failed, match=re.escape(SITE_ADDRESS)):
        witness.nothing_got_out(host.target, since)


def test_a_witness_that_sees_no_mark_proves_nothing() -> None:
    host = Host(BEGAN)
    since = witness.mark(host.target)
    host.alive = False
    host.lines.append(SITE)
    with pytest.raises(Failed, match="sees nothing"):
        witness.nothing_got_out(host.target, since)


def test_one_that_was_started_anew_proves_nothing() -> None:
    host = Host(BEGAN)
    since = witness.mark(host.target)
    host.lines = ["6.000 began 78", SITE]
    with pytest.raises(Failed, match="another"):
        witness.nothing_got_out(host.target, since)


def test_one_that_lost_packets_proves_nothing() -> None:
    host = Host(BEGAN)
    since = witness.mark(host.target)
    host.lines.append(SITE)
    host.lost = 3
    with pytest.raises(Failed, match="lost 3"):
        witness.nothing_got_out(host.target, since)


@pytest.mark.parametrize("lines", [(), (SITE,)])
def test_no_record_is_no_witness(lines: tuple[str, ...]) -> None:
    with pytest.raises(Failed, match="no witness"):
        witness.start(Host(*lines).target)


def test_a_half_written_line_is_not_read() -> None:
    class Writing(Host):
        def read(self, path: str) -> str:
            return super().read(path)[:-2]

    with pytest.raises(Failed, match="no witness"):
        witness.start(Writing(BEGAN).target)

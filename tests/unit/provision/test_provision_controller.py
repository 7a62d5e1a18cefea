"""A run that did not get as far as its host is no refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.provision.commands import Failed, Said
from tests.provision.controller import Played

SAID = "TASK [x] ***\nfatal: [host]: FAILED! => no nft on this host\n\nPLAY RECAP\n"
COUNTS = {"ok": 3, "changed": 0, "failed": 1, "unreachable": 0}


def played(counts: dict[str, int], status: int = 2) -> Played:
    return Played(counts, Said(status, SAID, ""), Path("log"))


def test_a_refusal_says_its_words_and_changes_nothing() -> None:
    assert "no nft" in played(COUNTS).refused("no nft on this host")


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, 2), (COUNTS, 0), ({**COUNTS, "changed": 1}, 2), ({**COUNTS, "failed": 0}, 2),
        ({**COUNTS, "unreachable": 1}, 4), ({**COUNTS, "failed": 0, "unreachable": 1}, 4),
    ],
)  # fmt: skip
def test_no_other_end_is_one(counts: dict[str, int], status: int) -> None:
    with pytest.raises(Failed):
        played(counts, status).refused("no nft on this host")


def test_nor_is_one_with_other_words() -> None:
    with pytest.raises(Failed, match="does not say"):
        played(COUNTS).refused("no iptables")

"""Names that cannot be an instance's, and that the usual ones are not among them."""

from __future__ import annotations

import re

import pytest

from appliance.reserved_names import RESERVED


@pytest.mark.parametrize("name", ["udp", "ip", "table", "gc-interval", "chains", "host", "overlay"])
def test_words_of_nft_and_docker(name: str) -> None:
    assert name in RESERVED


def test_usual_names_are_free() -> None:
    assert not RESERVED & {"egress", "egresslab", "gateway", "lab", "proxy", "prod"}


def test_only_words_that_an_instance_could_have() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,14}", word) for word in RESERVED)

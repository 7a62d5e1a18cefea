"""Replays every seed, every kept input of a fuzz run and every finding: seconds, where `make fuzz` takes hours."""

from __future__ import annotations

import pytest

from tests.fuzz import corpus
from tests.fuzz.target import load, names

PARSERS = {
    "audit_records", "chunked_body", "client_hello", "dns_question", "dns_reply", "docker_calls", "dpop_proof", "host_names", "json_lines",
    "integration_documents",
    "path_query", "policy_documents", "request_head", "response_head", "scrubbed_stream", "tls_records", "websocket_frames",
}  # fmt: skip


def test_every_parser_of_foreign_bytes_has_a_target() -> None:
    assert set(names()) == PARSERS
    assert {file.stem for file in corpus.DIRECTORY.glob("*")} <= PARSERS


@pytest.mark.parametrize("name", names())
def test_seeds_and_kept_inputs_hold(name: str) -> None:
    target = load(name)
    assert target.seeds
    for data in (b"", *target.seeds, *corpus.load(name), *corpus.findings(name)):
        try:
            target.one(data)
        except BaseException as error:
            error.add_note(f"{name}: {data!r}")
            raise


@pytest.mark.parametrize("name", names())
def test_the_corpus_stays_small(name: str) -> None:
    kept = corpus.load(name)
    assert len(kept) <= corpus.MOST_INPUTS
    assert all(len(data) <= corpus.LONGEST_INPUT for data in kept)

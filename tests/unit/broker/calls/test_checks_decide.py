"""What decides: by rules alone, the same again and again; no model is asked, and no annotation is an input."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from appliance.broker.calls import authority, checks
from appliance.handover import Attestation
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts
from tests.unit.broker.calls.support import Neighbours

ROOT = Path(__file__).resolve().parents[4]
DECISIONS = (
    "appliance.policy.tenant", "appliance.policy.store", "appliance.broker.calls.checks",
    "appliance.broker.calls.authority",
)  # fmt: skip
LIBRARIES = {
    "annotated_types", "idna", "jsonschema_rs", "publicsuffixlist", "pydantic", "pydantic_core", "typing_extensions",
    "typing_inspection", "ruamel",
}  # fmt: skip
"""All that is not Python's own and not ours: parsers and checkers, none of which can ask anybody."""
CLIENTS = {"http.client", "urllib.request", "ftplib", "smtplib", "xmlrpc.client", "ssl", "asyncio"}
MODELS = {
    "openai", "anthropic", "litellm", "langchain", "langchain_core", "llama_cpp", "llama_index", "transformers",
    "torch", "tensorflow", "onnxruntime", "vllm", "ollama", "cohere", "mistralai", "groq", "google.generativeai",
    "google.genai", "vertexai", "huggingface_hub", "sentence_transformers", "sklearn", "instructor", "dspy",
}  # fmt: skip


def test_000_30_000_32_000_81_what_decides_can_ask_neither_a_model_nor_the_network() -> None:
    script = (
        f"import sys; before = set(sys.modules); import {', '.join(DECISIONS)};"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True
    )
    loaded = set(done.stdout.split())
    assert set(DECISIONS) <= loaded
    assert not loaded & CLIENTS
    roots = {name.partition(".")[0] for name in loaded if not name.startswith("_sysconfig")}
    assert roots - sys.stdlib_module_names - {"appliance"} <= LIBRARIES


def test_000_30_nothing_of_ours_knows_a_model() -> None:
    for package in ("appliance", "netns", "squid"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    assert not MODELS & {name, name.partition(".")[0]}, f"{file} imports {name}"


def test_000_32_no_decision_takes_an_annotation() -> None:
    """Who adds an input here says what it is; a score, a label or a model's word is none."""
    decisions = (
        checks.intent, checks.binding, checks.policy_allows, checks.addresses_allowed, checks.container,
        checks.body_fits, authority.presented, TenantPolicy.judge, TenantPolicy.judge_host,
        TenantPolicy.judge_name, TenantPolicy.judge_address,
    )  # fmt: skip
    inputs = {name for decision in decisions for name in inspect.signature(decision).parameters}
    assert inputs == {
        "self", "attestation", "head", "policy", "account", "host", "port", "addresses", "address", "scheme",
        "endpoint", "group", "method", "body", "facts", "slot", "reference_scheme", "headers", "withheld", "pairs",
        "pieces",
    }  # fmt: skip
    assert RequestFacts._fields == (
        "method", "scheme", "host", "port", "path", "query", "content_type", "content_length", "chunked",
        "uri_bytes", "header_bytes", "upgrade", "subprotocols", "pieces",
    )  # fmt: skip
    assert {field.name for field in fields(Attestation)} == {
        "request_id", "tenant", "endpoint", "container", "run", "source", "worker", "account", "generation",
        "port", "withheld",
    }  # fmt: skip


def decided(path: str, *lines: str) -> tuple:
    n = Neighbours()
    n.get(path, *lines)
    if n.upstreams:
        n.answer()
    record = n.record
    return record.outcome, record.reason, record.rule, record.generation, record.checks, len(n.upstreams)


@pytest.mark.parametrize("word", ["allow", "deny", "unavailable", '{{["}', ""])
@pytest.mark.parametrize("field", ["X-Model-Verdict", "X-Risk-Score", "X-Egress-Decision", "X-Llm-Firewall"])
def test_000_30_000_32_what_is_said_beside_a_request_changes_no_decision(field: str, word: str) -> None:
    line = f"{field}: {word}"
    assert decided("/data/1", line)[:2] == ("allowed", "allowed-by-integration")
    for path in ("/data/1", "/other", "/data/1?other=1"):
        assert decided(path, line) == decided(path)


@pytest.mark.parametrize(
    ("path", "outcome", "reason"),
    [
        ("/data/1?page=2", "allowed", "allowed-by-integration"),
        ("/other", "denied", "path-not-allowed"),
        ("/data/1?other=1", "denied", "query-not-allowed"),
    ],
)
def test_000_31_a_decision_on_record_comes_out_the_same_when_it_is_made_again(
    path: str, outcome: str, reason: str
) -> None:
    records = []
    for _ in range(3):
        n = Neighbours()
        n.get(path)
        if n.upstreams:
            n.answer()
        records.append(n.record)
    first = records[0]
    assert (first.outcome, first.reason) == (outcome, reason)
    assert (first.rule, first.generation) == ("accounts[0]", "one")
    assert re.fullmatch(r"[0-9a-f]{64}", first.inputs)
    for record in records[1:]:
        assert (record.outcome, record.reason, record.rule) == (outcome, reason, first.rule)
        assert (record.generation, record.inputs) == (first.generation, first.inputs)
        assert record.checks == first.checks


def test_000_31_every_fact_that_is_judged_is_in_the_hash() -> None:
    said = [
        "GET /data/1 HTTP/1.1\nHost: api.example.com",
        "HEAD /data/1 HTTP/1.1\nHost: api.example.com",
        "GET /data/1 HTTP/1.1\nHost: apx.example.com",
        "GET /data/2 HTTP/1.1\nHost: api.example.com",
        "GET /data/1?a=1 HTTP/1.1\nHost: api.example.com",
        "GET /data/1?a=2 HTTP/1.1\nHost: api.example.com",
        "GET /data/1?b=1 HTTP/1.1\nHost: api.example.com",
        "GET /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: text/plain",
        "GET /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: text/x-log",
        "GET /data/1 HTTP/1.1\nHost: api.example.com\nX: 1",
        "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Length: 7",
        "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Length: 8",
        "POST /data/1 HTTP/1.1\nHost: api.example.com\nTransfer-Encoding: chunked",
    ]
    hashes = []
    for head in said:
        n = Neighbours()
        n.call(head, b"{}234567"[: int(head.rpartition(" ")[2]) if "Length" in head else 0])
        if n.upstreams:
            n.answer()
        if n.audit.records:
            hashes.append(n.record.inputs)
    assert len(hashes) >= len(said) - 1
    assert len(set(hashes)) == len(hashes)

"""What of a definition its shape cannot say."""

from __future__ import annotations

import pytest

from appliance.policy.compile_definition import compile_definition
from tests.unit.policy.bindings import CRM, definition, faults_of_definition
from tests.unit.policy.written import document


def test_a_definition_without_fault() -> None:
    made = definition()
    assert made.name == "crm"
    assert made.bodies == {}
    assert made.digest == definition().digest
    assert made.digest != definition(CRM.replace("1KiB", "2KiB")).digest


@pytest.mark.parametrize("text", ["", "[]", "a", "{}"])
def test_an_empty_document_is_no_definition(text: str) -> None:
    made, (problem,) = compile_definition(document(text, "crm.yaml"), "crm")
    assert made is None
    assert "empty" in problem.message


READ = '{name: read, risk: read, methods: [GET], paths: ["/data/*"], query: [page, "ids[]"], repeatable: ["ids[]"]}'


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("name: crm", "name: cmr", "name 'cmr' is not the file's, 'crm'"),
        ("hosts: [api.crm.example]", "hosts: [api.crm.example]\nhost: ask", "host and hosts stand together"),
        ("hosts: [api", "base_url: crm\nhosts: ['*.crm.example', api", "base_url leads to the first host"),
        ("name: send", "name: read", "group 'read' is there twice"),
        ("risk: read, methods: [GET]", "risk: read, methods: [GET, DELETE]", "a group that only reads has no DELETE"),
        ("name: read,", "name: read, hosts: [b.crm.example],", "none of the definition's hosts"),
        ('repeatable: ["ids[]"]', "repeatable: [other]", "'other' may not occur at all"),
        (READ, READ.replace("query", "content_types: [text/plain], query"), "GET and HEAD carry no body"),
        (READ, READ.replace("query", "max_body: 1KiB, query"), "max_body without content_types"),
        (READ, READ.replace("query", "subprotocols: [a], query"), "subprotocols without upgrade"),
        ("methods: [POST]", "upgrade: websocket, methods: [POST]", "opened by GET"),
        ("secrets: [static]", "secrets: [static, aws]", "kind aws fits no slot of style bearer"),
        ("name: send,", "name: send, slot: {style: basic},", "kind static fits no slot of style basic"),
        ("/data/*", "/data/{org}", "parameter 'org' is not described"),
        ("api.crm.example", "'{org}.crm.example'", "parameter 'org' is not described"),
        ("title: CRM", "title: CRM\nparameters: {org: {description: x}}", "no host and no path has {org}"),
        ("max_body: 1KiB", "body: {type: objekt}", "no JSON Schema of draft 2020-12"),
        ("max_body: 1KiB", "body: {$ref: 'https://example.com/x'}", "leads out of the schema"),
        ("application/json], max_body: 1KiB", "application/json, text/plain], body: {}", "JSON bodies alone"),
        ("max_body: 1KiB", "untyped_body: true, body: {type: object}", "JSON bodies alone"),
        ("name: send, risk: write, methods: [POST], paths: [/mail], content_types: [application/json], max_body: 1KiB",
         "name: one, risk: read, methods: [GET], paths: [/data/one], query: [page]", "group 'read' before it allows all"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(old: str, new: str, word: str) -> None:
    assert old in CRM
    lines = faults_of_definition(CRM.replace(old, new, 1))
    assert any(word in line for line in lines), lines
    assert all(line.startswith("crm.yaml:") for line in lines)


def test_of_two_groups_for_one_request_the_narrow_one_comes_first() -> None:
    narrow = "  - {name: one, risk: read, methods: [GET], paths: [/data/one], query: [page]}\n"
    assert definition(CRM.replace("groups:\n", "groups:\n" + narrow)).name == "crm"


def test_the_schema_of_a_group_is_kept() -> None:
    made = definition(CRM.replace("max_body: 1KiB", "body: {type: object, required: [to]}"))
    assert made.bodies["send"].fits({"to": "x"})
    assert not made.bodies["send"].fits({})

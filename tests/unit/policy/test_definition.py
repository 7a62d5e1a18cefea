"""Definitions' documents: all five parts are written, and what is not known is an error at its place."""

from __future__ import annotations

import re

import pytest

from appliance.policy import definition as module
from appliance.policy.definition import filled, host_pattern, parameters_of
from appliance.policy.slot import Slot
from tests.unit.policy.bindings import CRM, definition, faults_of_definition


def test_the_slot_is_a_part_of_the_definition() -> None:
    assert module.Slot is Slot
    assert definition().document.slot == Slot(style="bearer")


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("scheme: https\n", "scheme is missing"),
        ("hosts: [api.crm.example]\n", "hosts is missing"),
        ("port: 443\n", "port is missing"),
        ('paths: ["/data/*"], ', "groups[0].paths is missing"),
        ("methods: [GET], ", "groups[0].methods is missing"),
    ],
)
def test_000_45_a_definition_without_one_of_its_five_parts(part: str, missing: str) -> None:
    assert part in CRM
    (line,) = faults_of_definition(CRM.replace(part, ""))
    assert missing in line
    assert re.match(r"crm\.yaml:\d+:\d+: ", line)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("scheme: https", "scheme: http", "would show the secret to the network; write https"),
        ("port: 443", "port: 0", "port"),
        ("port: 443", "port: '443'", "port"),
        ("[api.crm.example]", "[]", "hosts is empty"),
        ("[api.crm.example]", "[192.0.2.1]", "is an address"),
        ("[api.crm.example]", "['api.crm.example:443']", "no host name"),
        ("[api.crm.example]", "['api.crm.example.']", "ends with a dot"),
        ("[api.crm.example]", "['*']", "odd place"),
        ("[api.crm.example]", "['api.*.example']", "odd place"),
        ("[api.crm.example]", "['*.com']", "anybody can register"),
        ("[api.crm.example]", "['*.co.uk']", "anybody can register"),
        ("[api.crm.example]", "['*.s3.amazonaws.com']", "anybody can register"),
        ("[api.crm.example]", "['*.googleapis.com']", "anybody can register"),
        ("[api.crm.example]", "[API.crm.example, api.crm.example]", "listed twice"),
        ("title: CRM", "titel: CRM", "unknown key 'titel'; did you mean 'title'?"),
        ("title: CRM", "title: CRM\nanswers: {redirects: follow}", "follow is not known here"),
        ("title: CRM", "title: CRM\nreference_scheme: Agent Secrets", "URI scheme"),
        ("style: bearer", "style: cookie", "cookie is not known here"),
        ("secrets: [static]", "secrets: [password]", "password is not known here"),
        ("risk: write", "risk: none", "none is not known here"),
        ("[GET]", "[get]", "methods are upper case"),
        ("[GET]", "[TRACE]", "TRACE can never be allowed"),
        ('"/data/*"', '"/data/x*"', "stands for a whole segment"),
        ('"/data/*"', '"/data/../x"', "dot segment"),
        ("[application/json]", '["application/json; charset=utf-8"]', "media type"),
        ("1KiB", "0", "is no size"),
    ],
)
def test_004_18_what_a_definition_cannot_say(old: str, new: str, word: str) -> None:
    assert old in CRM
    lines = faults_of_definition(CRM.replace(old, new, 1))
    assert any(word in line for line in lines), lines


def test_parameters_stand_for_themselves() -> None:
    assert parameters_of("{bucket}.s3.{region}.example.com") == ("bucket", "region")
    assert filled("/{a}/{a}/b", {"a": "x"}) == "/x/x/b"
    assert host_pattern("*.example.com").below


def test_a_group_with_a_slot_of_its_own_takes_no_placeholder_where_only_the_usual_slot_does() -> None:
    text = CRM.replace("{style: bearer}", "{style: header, name: x-key, placeholder_fields: [x-clients-key]}")
    text = text.replace("max_body: 1KiB", "max_body: 1KiB, slot: {style: bearer}")
    made = definition(text).document
    usual, other = (made.slot_of(group) for group in made.groups)
    assert usual.placeholder_fields == ("x-clients-key",)
    assert (other.placeholder_fields, set(other.authority_fields or ())) == (None, {"x-clients-key", "x-key"})

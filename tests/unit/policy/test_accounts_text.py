"""One account more or less, and every comment where it was."""

from __future__ import annotations

import pytest

from appliance.policy.accounts_text import HEAD, NotEditable, with_account, without_account
from appliance.yamldoc import loads

NEW = {"name": "c", "integration": "crm", "tenants": ["acme"], "parameters": {"bucket": ["1"], "x": "null"}}
BLOCK = """\
# who may what
accounts:   # of the year
  # the first
  - name: a    # one
    integration: openai
    tenants: [acme]   # and nobody else

  # the second
  - name: b
    integration: slack
    tenants:
      - acme
      # not yet:
      # - other
# the end
"""
FLOW = "accounts: [{name: a, integration: openai, tenants: [acme]}, {name: b, integration: slack, tenants: [acme]}] # x\n"
DEEP = "description: all\naccounts:\n-\n  name: a\n  integration: openai\n  tenants: [acme]"


def data(text: str) -> object:
    return loads(text.encode(), "x").data


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("text", [BLOCK, FLOW, DEEP, "", "{}", "# none\n{}\n", "description: x\n"])
def test_one_more(text: str) -> None:
    edited = with_account(text, NEW)
    before = data(text) or {}
    assert isinstance(before, dict)
    assert data(edited) == {**before, "accounts": [*before.get("accounts", []), NEW]}
    assert [c for c in comments(edited) if c != comments(HEAD)[0]] == comments(text)
    again = without_account(edited, "c")
    assert data(again) == (before or {})
    assert [c for c in comments(again) if c != comments(HEAD)[0]] == comments(text)


def test_a_block_grows_by_its_own_lines_alone() -> None:
    edited = with_account(BLOCK, NEW)
    added = (
        '  - name: c\n    integration: crm\n    tenants: [acme]\n    parameters: {bucket: ["1"], x: "null"}\n'
    )
    assert edited == BLOCK.replace("      - acme\n", "      - acme\n" + added)


def test_one_less() -> None:
    assert without_account(BLOCK, "b") == (
        "# who may what\naccounts:   # of the year\n  # the first\n  - name: a    # one\n    integration: openai\n"
        "    tenants: [acme]   # and nobody else\n\n  # the second\n      # not yet:\n      # - other\n# the end\n"
    )
    first = without_account(BLOCK, "a")
    assert "# the second\n  - name: b" in first
    assert "# the first\n" in first
    for name, left in (("a", "b"), ("b", "a")):
        found = data(without_account(FLOW, name))
        assert isinstance(found, dict)
        assert [item["name"] for item in found["accounts"]] == [left]


def test_none_left_is_said_in_so_many_words() -> None:
    assert data(without_account(without_account(BLOCK, "a"), "b")) == {}
    assert data(without_account(without_account(FLOW, "a"), "b")) == {}
    assert data(without_account(DEEP, "a")) == {"description": "all"}


def test_a_mapping_on_one_line_grows_and_is_left_to_a_person_when_it_should_shrink() -> None:
    edited = with_account("{description: x}\n", NEW)
    assert data(edited) == {"description": "x", "accounts": [NEW]}
    with pytest.raises(NotEditable, match="by hand"):
        without_account(edited, "c")


def test_who_is_not_there() -> None:
    for text in (BLOCK, "", "{}"):
        with pytest.raises(KeyError):
            without_account(text, "c")


def test_an_odd_way_of_writing_is_left_to_a_person() -> None:
    for text in ("null\n", "--- {}\n...\n# end\n", "? accounts\n: - {name: a}\n", "accounts: [{name: a},]\n"):
        try:
            edited = with_account(text, NEW)
        except NotEditable as refused:
            assert "by hand" in str(refused)  # noqa: PT017 - either is good
        else:
            found = data(edited)
            assert isinstance(found, dict)
            assert found["accounts"][-1] == NEW


@pytest.mark.parametrize("text", ["accounts: [", "[]", "a", "accounts: {a: b}", "a: &x 1\nb: *x\n"])
def test_what_cannot_be_read_is_not_edited(text: str) -> None:
    with pytest.raises(NotEditable, match=r"mend that first"):
        with_account(text, NEW)


def test_a_number_is_written_as_one() -> None:
    text = with_account("", {"name": "a", "token_hosts": [{"host": "login.example", "port": 8443}]})
    assert "token_hosts: [{host: login.example, port: 8443}]" in text

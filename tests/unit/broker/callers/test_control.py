"""The operator's word on callers: root alone, on record before it takes effect, the key shown once."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from appliance.broker.identity.api_keys import api_keys
from tests.unit.broker.callers.support import Host

WHO = {"tenant": "acme", "actor": "ci"}
ADD = {**WHO, "scopes": ["crm-api:read"]}


def test_002_22_a_key_is_shown_once_and_the_database_has_no_more_than_its_hash(host: Host) -> None:
    made = host.tell("caller-add", **ADD)
    process = host.process()
    process.by(made["key"])
    assert process.answered().status == 200
    listed = host.tell("caller-list")
    secret = made["key"].split("_", 2)[2]
    assert secret not in json.dumps(listed)
    assert secret not in repr(host.audit.records)
    with host.database.connect() as connection:
        assert secret not in repr(connection.execute(select(api_keys)).all())
    (key,) = listed["keys"]
    assert (key["id"], key["actor"], key["scopes"], key["active"]) == (
        made["id"],
        "ci",
        ["crm-api:read"],
        True,
    )


def test_002_22_a_rotated_key_overlaps_with_the_older_one_and_has_its_scopes_and_life(host: Host) -> None:
    old = host.tell("caller-add", **ADD, seconds=3600)
    host.clock.advance(1800)
    new = host.tell("caller-rotate", **WHO)
    assert new["older"] == old["id"]
    process = host.process()
    for made in (old, new):
        process.by(made["key"])
        assert process.answered().status == 200
    assert host.tell("caller-rotate", **WHO) == "api_key_limit"
    host.clock.advance(1801)
    assert process.by(old["key"]).reason == "api_key_expired"
    process.by(new["key"])
    assert process.answered().status == 200
    keys = {key["id"]: key for key in host.tell("caller-list", tenant="acme")["keys"]}
    assert not keys[old["id"]]["active"]
    assert keys[new["id"]]["expires_at"] - keys[new["id"]]["created_at"] == 3600
    assert host.tell("caller-list", tenant="beta")["keys"] == []


def test_002_22_revoke_is_at_once_and_once(host: Host) -> None:
    made = host.tell("caller-add", **ADD)
    assert host.tell("caller-revoke", id=made["id"]) == {"id": made["id"], "was_active": True}
    assert host.process().by(made["key"]).reason == "api_key_revoked"
    assert host.tell("caller-revoke", id=made["id"])["was_active"] is False
    assert host.tell("caller-rotate", **WHO) == "caller-unknown"
    assert host.tell("caller-revoke", id="0" * 16) == "caller-unknown"


def test_002_22_what_is_not_on_record_does_not_happen(host: Host) -> None:
    made = host.tell("caller-add", **ADD)
    host.audit.ready = False
    for operation, message in (
        ("caller-add", ADD), ("caller-rotate", WHO), ("caller-revoke", {"id": made["id"]}),
        ("caller-readmit", {"tenant": "acme", "principal": "jwt:x"}),
    ):  # fmt: skip
        assert host.tell(operation, **message) == "audit-unavailable"
    host.audit.ready = True
    (key,) = host.tell("caller-list")["keys"]
    assert key["active"]
    assert host.events == ["caller-key-added"]


def test_each_change_is_on_record_and_so_is_one_that_failed(host: Host) -> None:
    made = host.tell("caller-add", **ADD)
    host.tell("caller-rotate", **WHO)
    assert host.tell("caller-add", **ADD) == "api_key_limit"
    host.tell("caller-revoke", id=made["id"])
    assert host.tell("caller-readmit", tenant="acme", principal="jwt:x")["was_ended"] is False
    assert host.events == [
        "caller-key-added", "caller-key-rotated", "caller-key-added", "caller-key-refused",
        "caller-key-revoked", "caller-readmitted",
    ]  # fmt: skip
    assert {record.tenant for record in host.audit.records} == {"acme"}
    assert host.audit.records[3].reason == "api_key_limit"


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("caller-add", WHO), ("caller-add", {**ADD, "tenant": "ACME"}), ("caller-add", {**ADD, "actor": ""}),
        ("caller-add", {**ADD, "actor": "a b"}), ("caller-add", {**ADD, "scopes": ["a b"]}),
        ("caller-add", {**ADD, "scopes": "a"}), ("caller-add", {**ADD, "scopes": [1]}),
        ("caller-add", {**ADD, "seconds": 0}), ("caller-add", {**ADD, "seconds": True}),
        ("caller-add", {**ADD, "seconds": 10**12}), ("caller-rotate", {"tenant": "acme"}),
        ("caller-revoke", {}), ("caller-revoke", {"id": 7}), ("caller-list", {"tenant": 7}),
        ("caller-readmit", {"tenant": "acme"}),
    ],
)  # fmt: skip
def test_anything_else_is_refused(host: Host, operation: str, message: dict) -> None:
    assert host.tell(operation, **message) == "invalid-request"
    assert host.tell("caller-list")["keys"] == []


def test_002_22_root_alone_may_ask(host: Host) -> None:
    operations = host.interface.operations()
    assert len(operations) == 5
    assert not any(operation.uids for operation in operations.values())


def test_a_store_that_does_not_answer_is_said(host: Host) -> None:
    api_keys.drop(host.database)
    assert host.tell("caller-list") == "store-unavailable"
    assert host.tell("caller-add", **ADD) == "store-unavailable"

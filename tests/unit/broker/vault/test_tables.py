"""appliance.broker.vault.tables: what may stand in the open."""

from __future__ import annotations

from appliance.broker.vault.tables import keyring_table, secrets_table


def test_000_37_only_names_numbers_and_sealed_octets_have_a_column() -> None:
    assert set(secrets_table.c.keys()) == {
        "tenant", "integration", "name", "version", "kind", "created", "wrapped", "sealed",
    }  # fmt: skip
    assert set(keyring_table.c.keys()) == {
        "id", "key_id", "source", "salt", "passes", "memory", "lanes", "proof",
    }  # fmt: skip


def test_a_version_of_a_name_is_there_once() -> None:
    assert [column.name for column in secrets_table.primary_key] == [
        "tenant",
        "integration",
        "name",
        "version",
    ]

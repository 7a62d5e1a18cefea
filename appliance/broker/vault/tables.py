"""The vault's tables: no value stands in them in the open."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, String, Table

from appliance.broker.database import metadata

keyring_table = Table(
    "vault_keyring",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("key_id", String(32), nullable=False),
    Column("source", String(16), nullable=False),
    Column("salt", LargeBinary),
    Column("passes", Integer),
    Column("memory", Integer),
    Column("lanes", Integer),
    Column("proof", LargeBinary, nullable=False),
)
"""One row: which KEK wraps the data keys. `proof` opens with the right one; the rest is Argon2id's."""

secrets_table = Table(
    "vault_secrets",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("integration", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""A row for each version; `created` in seconds of Unix time."""

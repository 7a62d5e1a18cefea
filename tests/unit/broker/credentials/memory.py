"""Run alone, it injects every kind of secret once and prints how often each is in its memory: now, and when
the account is forgotten.

What is freed is overwritten (glibc's `perturb`, no allocator of Python's own), so what is found is still held
by somebody: a cache of a library, a traceback, an object of ours.
"""

from __future__ import annotations

import gc
import json
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred

from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.inject import Outgoing, TokenAnswer, applied, inject
from appliance.broker.vault.kinds import OAuthRefresh, parse_material
from appliance.policy.slot import Hmac, Slot

ENVIRONMENT = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEARER = Slot(style="bearer")
SELF = Path("/proc/self")


class Hunted:
    """Texts that are remembered in a form in which they would not be found."""

    def __init__(self) -> None:
        self.hidden: dict[str, bytes] = {}

    def add(self, name: str, text: str) -> str:
        self.hidden[name] = bytes(octet ^ 0xFF for octet in text.encode())
        return text

    def fresh(self, name: str) -> str:
        return self.add(name, secrets.token_urlsafe(24))


def inject_all(hunted: Hunted, tokens: ExchangedTokens) -> None:
    pem = (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )
    hunted.add("key", pem.splitlines()[9])
    app = {"private_key": pem, "app_id": 1, "installation_id": 2}
    robot = {"private_key": pem, "client_email": "a@b", "private_key_id": "1"}
    client = {"token_url": "https://a.example/t", "client_id": "a"}
    for document, slot in (
        ({"kind": "static", "value": hunted.fresh("bearer")}, BEARER),
        ({"kind": "static", "value": hunted.fresh("header")}, Slot(style="header", name="x-key")),
        ({"kind": "static", "value": hunted.fresh("query")}, Slot(style="query", name="key")),
        ({"kind": "basic", "username": "a", "password": hunted.fresh("basic")}, Slot(style="basic")),
        ({"kind": "aws", "access_key_id": "AKID", "secret_access_key": hunted.fresh("aws")}, Slot(style="sigv4", service="s3", region="x")),
        ({"kind": "hmac", "key": hunted.fresh("hmac")}, Slot(style="hmac", name="x", hmac=Hmac(message=("path",)))),
        ({"kind": "oauth2-refresh", "refresh_token": hunted.fresh("refresh"), "client_secret": hunted.fresh("client"), **client}, BEARER),
        ({"kind": "oauth2-refresh", "refresh_token": hunted.fresh("revoked"), **client}, BEARER),
        ({"kind": "oauth2-client-credentials", "client_secret": hunted.fresh("own"), **client}, BEARER),
        ({"kind": "github-app", **app}, BEARER),
        ({"kind": "gcp-service-account", **robot}, BEARER),
        ({"kind": "gcp-service-account", "scopes": ["s"], **robot}, BEARER),
        ({"kind": "static", "value": hunted.fresh("mismatched")}, Slot(style="sigv4")),
    ):  # fmt: skip
        inject_one(json.dumps(document).encode(), slot, hunted, tokens)


def inject_one(document: bytes, slot: Slot, hunted: Hunted, tokens: ExchangedTokens) -> None:
    revoked = bytes(octet ^ 0xFF for octet in hunted.hidden.get("revoked", b"")) or b"none is yet"

    async def post(url: str, fields: object, body: bytes) -> TokenAnswer:
        if revoked in body:
            return TokenAnswer(400, b'{"error":"invalid_grant"}')
        members = {
            "access_token": hunted.fresh(f"access-{len(hunted.hidden)}"),
            "token_type": "bearer",
            "expires_in": 600,
        }
        members["refresh_token"] = hunted.fresh(f"rotated-{len(hunted.hidden)}")
        members |= {"token": members["access_token"], "expires_at": "2026-06-01T01:00:00Z"}
        return TokenAnswer(201 if "access_tokens" in url else 200, json.dumps(members).encode())

    async def rotated(renewed: OAuthRefresh) -> int:
        return 2

    outgoing = Outgoing("GET", "https", "a.example", 443, "/", "", ((b"host", b"a.example"),), b"")
    came: list[object] = []
    work = inject(parse_material(document), slot, outgoing, NOW, post, tokens.of("t", "a", rotated))
    Deferred.fromCoroutine(work).addBoth(came.append)
    if not hasattr(came[0], "live"):
        return
    applied(outgoing, came[0])  # type: ignore[arg-type]


def found(hidden: bytes) -> int:
    """How often the text is in writable memory, other than in what this search made."""
    text = bytes(octet ^ 0xFF for octet in hidden)
    own = range(id(text), id(text) + sys.getsizeof(text))
    count = 0
    with (SELF / "maps").open(encoding="ascii") as maps, (SELF / "mem").open("rb", 0) as memory:
        for line in maps.read().splitlines():
            bounds, permissions, *_ = line.split()
            if not permissions.startswith("rw"):
                continue
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            memory.seek(low)
            octets = memory.read(high - low)
            at = octets.find(text)
            while at >= 0:
                count += low + at not in own
                at = octets.find(text, at + 1)
            del octets
    return count


def counts(hunted: Hunted) -> dict[str, int]:
    gc.collect()
    return {name: found(hidden) for name, hidden in hunted.hidden.items()}


def main() -> None:
    hunted = Hunted()
    held = hunted.fresh("held")  # so that the hunt can fail
    tokens = ExchangedTokens()
    inject_all(hunted, tokens)
    before = counts(hunted)
    tokens.forget("t")
    print(json.dumps([before, counts(hunted)]))
    del held


if __name__ == "__main__":
    main()

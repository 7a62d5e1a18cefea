"""What the lab's providers answer: each in its provider's own format, and each tells what authority it was sent.

A provider that repeats a secret is the worst one that there can be: whatever a container then sees of it, something in
between has let through.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.lab import githttp, internet
from tests.lab.internet import Site

CONTENT = internet.STATE / "providers"
REPOSITORIES = CONTENT / "repositories"
GREETING = "hello from the lab"
SLOW = 1000
"""Pieces of an answer that takes its time, with 10 ms between two (`providers`)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whole. `target` is as on the wire."""

    site: Site
    method: str
    target: str
    fields: Message
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def authority(self) -> str:
        """The field that says who asks, as it came."""
        name = "X-Api-Key" if self.site is internet.ANTHROPIC else "Authorization"
        return str(self.fields.get(name, ""))

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer; with several pieces each is written by itself, as one chunk."""

    status: int
    pieces: tuple[bytes, ...]
    kind: str = "application/json"
    fields: Mapping[str, str] = field(default_factory=dict)


def _json(status: int, value: Any, **fields: str) -> Said:
    return Said(status, (json.dumps(value).encode(),), fields=fields)


def _events(asked: Asked, events: list[tuple[str | None, Any]]) -> Said:
    """Server-sent events, with every chunk's border inside of an event, if possible inside of the authority."""
    wire = b"".join(
        (f"event: {name}\n" if name else "").encode()
        + f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
        for name, value in events
    )
    word = asked.authority.rpartition(" ")[2].encode() or b"data"
    cut = wire.find(word) + max(1, len(word) // 2)
    return Said(200, (wire[:cut], wire[cut:]), "text/event-stream")


def openai(asked: Asked, _secret: str) -> Said:
    """Chat completions (also streamed) and models."""
    if asked.path == "/v1/models":
        models = [{"id": "lab-1", "object": "model", "created": 1, "owned_by": asked.authority}]
        return _json(200, {"object": "list", "data": models})
    if asked.path == "/v1/files":
        return _json(
            403,
            {"error": {"message": "not for this project", "type": "permission_error", "code": "forbidden"}},
        )
    text = f"{GREETING}; you are {asked.authority}"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    common = {"id": "chatcmpl-1", "created": 1, "model": "lab-1"}
    if asked.json().get("stream"):
        events: list[tuple[str | None, Any]] = [
            (None, common | {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}],
            })
            for part in (GREETING, f"; you are {asked.authority}")
        ]  # fmt: skip
        return _events(asked, [*events, (None, "[DONE]")])
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _json(200, common | {"object": "chat.completion", "choices": [choice], "usage": usage})


def anthropic(asked: Asked, _secret: str) -> Said:
    """Messages, also streamed."""
    text = f"{GREETING}; you are {asked.authority}"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "lab-1", "stop_sequence": None,
               "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    if not asked.json().get("stream"):
        content = [{"type": "text", "text": text}]
        return _json(200, message | {"content": content, "stop_reason": "end_turn"})
    block = {"type": "text", "text": ""}
    events: list[tuple[str, Any]] = [
        ("message_start", {"message": message | {"content": [], "stop_reason": None}}),
        ("content_block_start", {"index": 0, "content_block": block}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
        ("message_stop", {}),
    ]
    return _events(asked, [(name, {"type": name} | value) for name, value in events])


def stripe(asked: Asked, _secret: str) -> Said:
    """Customers; charges are not for this key."""
    if asked.path == "/v1/charges":
        error = {
            "type": "invalid_request_error",
            "message": "The provided key does not have access to charges.",
        }
        return _json(403, {"error": error})
    customer = {"id": "cus_1", "object": "customer", "description": f"{GREETING} {asked.authority}"}
    return _json(200, customer | {"name": asked.body.decode()}, **{"Request-Id": "req_lab1"})


def github(asked: Asked, _secret: str) -> Said:
    """The user, a repository, issues; organisations are not for this token."""
    if asked.path == "/user":
        return _json(200, {"login": "lab", "id": 1, "bio": asked.authority})
    if asked.path == "/repos/lab/demo":
        return _json(
            200,
            {
                "id": 2,
                "name": "demo",
                "full_name": "lab/demo",
                "url": "https://api.github.com/repos/lab/demo",
            },
        )
    if asked.path == "/repos/lab/demo/issues":
        return _json(201, {"number": 7, "title": asked.json()["title"], "body": asked.authority})
    if asked.path.startswith("/orgs/"):
        return _json(403, {"message": "Resource not accessible by integration", "documentation_url": ""})
    return _json(404, {"message": "Not Found"})


def git(asked: Asked, _secret: str) -> Said:
    """git's own server."""
    status, fields, content = githttp.answer(
        REPOSITORIES, asked.method, asked.target, asked.fields, asked.body
    )
    found = dict(fields)
    return Said(status, (content,), found.pop("Content-Type", "text/plain"), found)


def slack(asked: Asked, _secret: str) -> Said:
    """Who asks, and messages."""
    if asked.path == "/api/auth.test":
        return _json(200, {"ok": True, "user": "lab", "team": asked.authority})
    return _json(200, {"ok": True, "ts": "1.2", "message": {"text": asked.body.decode()}})


_objects: dict[str, bytes] = {}


def s3(asked: Asked, _secret: str) -> Said:
    """Objects of one bucket, by its path and by its name."""
    key = asked.path.removeprefix(f"/{internet.BUCKET}") if asked.site is internet.S3 else asked.path
    content = _objects.get(key)
    if asked.method == "PUT":
        _objects[key] = content = _without_aws_chunks(asked)
        return Said(200, (b"",), "application/xml", {"ETag": _etag(content)})
    if key in {"", "/"}:
        entries = "".join(f"<Contents><Key>{escape(k[1:])}</Key></Contents>" for k in sorted(_objects))
        listing = f"<ListBucketResult><Name>{internet.BUCKET}</Name>{entries}</ListBucketResult>"
        return Said(200, (listing.encode(),), "application/xml")
    if content is None:
        return _s3_error(404, "NoSuchKey", asked.authority)
    return Said(200, (content,), "application/octet-stream", {"ETag": _etag(content)})


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'  # what S3 computes; nothing rests on it


def _s3_error(status: int, code: str, message: str) -> Said:
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Said(status, (text.encode(),), "application/xml")


def _without_aws_chunks(asked: Asked) -> bytes:
    if not asked.fields.get("X-Amz-Content-SHA256", "").startswith("STREAMING-"):
        return asked.body
    rest, content = asked.body, b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            return content
        content, rest = content + rest[:size], rest[size + 2 :]


def reflector(asked: Asked, secret: str) -> Said:
    """What it was sent, as its path says."""
    said = f"{GREETING}; you are {asked.authority}\n".encode()
    half = said.find(secret.encode()) + len(secret) // 2
    forms = {
        "raw": secret, "hex": secret.encode().hex(), "percent": quote(secret, safe=""),
        "every octet": "".join(f"%{octet:02X}" for octet in secret.encode()),
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64 inside": base64.b64encode(f"x:{secret}".encode()).decode(),
        "reversed": secret[::-1],
    }  # fmt: skip
    match asked.path.rpartition("/")[2]:
        case "header":
            return Said(200, (b"{}",), fields={"X-You-Are": asked.authority, "Set-Cookie": f"t={secret}"})
        case "gzip":
            return Said(200, (gzip.compress(said),), "text/plain", {"Content-Encoding": "gzip"})
        case "split":
            return Said(200, (said[:half], said[half:]), "text/plain")
        case "bytes":
            return Said(200, tuple(said[at : at + 1] for at in range(len(said))), "text/plain")
        case "sse":
            return _events(asked, [(None, {"you": asked.authority}), (None, "[DONE]")])
        case "error":
            return _json(500, {"error": f"no such thing for {asked.authority}"})
        case "forbidden":
            return _json(403, {"error": "forbidden", "why": f"{asked.authority} may not", "code": "policy-7"})
        case "redirect":
            return Said(
                302, (b"",), "text/plain", {"Location": f"https://{internet.OTHER.name}/canary/redirected"}
            )
        case "slow":
            return Said(200, (said,) * SLOW, "text/plain")
        case "close":
            return Said(200, (said,), "text/plain", {"Connection": "close"})
        case "away":
            return Said(
                302,
                (b"",),
                "text/plain",
                {"Location": f"https://{internet.OTHER.name}/canary/{quote(secret)}"},
            )
        case "forms":
            return _json(200, forms)
    return Said(200, (said,), "text/plain")


def refused(asked: Asked) -> Said:
    """Who it is not known, in the provider's format."""
    shown = asked.authority
    match asked.site:
        case internet.OPENAI:
            error = {
                "message": f"Incorrect API key provided: {shown}",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
            return _json(401, {"error": error})
        case internet.ANTHROPIC:
            return _json(
                401,
                {
                    "type": "error",
                    "error": {"type": "authentication_error", "message": f"invalid x-api-key {shown}"},
                },
            )
        case internet.STRIPE:
            return _json(
                401,
                {"error": {"type": "invalid_request_error", "message": f"Invalid API Key provided: {shown}"}},
            )
        case internet.GITHUB:
            return _json(401, {"message": "Bad credentials"})
        case internet.GITHUB_GIT:
            return Said(401, (b"",), "text/plain", {"WWW-Authenticate": 'Basic realm="GitHub"'})
        case internet.SLACK:
            return _json(200, {"ok": False, "error": "invalid_auth"})
        case internet.S3 | internet.S3_BUCKET:
            return _s3_error(403, "SignatureDoesNotMatch", f"The signature is not that of {shown}")
    return _json(401, {"error": "unauthorized"})


def bearer(asked: Asked, secret: str) -> bool:
    return asked.authority in {f"Bearer {secret}", f"token {secret}"}


def key(asked: Asked, secret: str) -> bool:
    return asked.authority == secret


def basic(asked: Asked, secret: str) -> bool:
    return asked.authority == "Basic " + base64.b64encode(f"x-access-token:{secret}".encode()).decode()


def signed(asked: Asked, secret: str) -> bool:
    """AWS Signature Version 4, computed again from what came; `secret` is `key id:secret key`."""
    identity, _, secret_key = secret.partition(":")
    words = dict(part.strip().partition("=")[::2] for part in asked.authority.partition(" ")[2].split(","))
    scope = words.get("Credential", "").split("/")
    if len(scope) != 5 or scope[0] != identity or scope[2:] != [internet.REGION, "s3", "aws4_request"]:
        return False
    said = asked.fields.get("X-Amz-Content-SHA256", "")
    if (
        not said.startswith(("UNSIGNED-", "STREAMING-UNSIGNED-"))
        and said != hashlib.sha256(asked.body).hexdigest()
    ):
        return False
    request = AWSRequest(asked.method, f"https://{asked.fields['Host']}{asked.target}")
    for name in words.get("SignedHeaders", "").split(";"):
        request.headers[name] = asked.fields.get(name, "")
    request.context["timestamp"] = asked.fields.get("X-Amz-Date", "")
    signer = S3SigV4Auth(Credentials(identity, secret_key), "s3", internet.REGION)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return bool(signer.signature(text, request) == words.get("Signature"))


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider knows who asks, and what it answers to that one."""

    knows: Callable[[Asked, str], bool]
    answers: Callable[[Asked, str], Said]


PROVIDERS = {
    internet.OPENAI: Provider(bearer, openai),
    internet.ANTHROPIC: Provider(key, anthropic),
    internet.STRIPE: Provider(bearer, stripe),
    internet.GITHUB: Provider(bearer, github),
    internet.GITHUB_GIT: Provider(basic, git),
    internet.SLACK: Provider(bearer, slack),
    internet.S3: Provider(signed, s3),
    internet.S3_BUCKET: Provider(signed, s3),
    internet.REFLECTOR: Provider(bearer, reflector),
    internet.REFLECTOR_2: Provider(bearer, reflector),
}


def answer(asked: Asked, secret: str) -> tuple[bool, Said]:
    """Whether it is who holds `secret`, and the answer."""
    provider = PROVIDERS[asked.site]
    if not provider.knows(asked, secret):
        return False, refused(asked)
    return True, provider.answers(asked, secret)

"""The lab's providers know who has the real secret, and nobody else."""

from __future__ import annotations

import base64
from email.message import Message

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.lab import internet
from tests.lab.provider_wire import Asked, answer

SECRET = "the-secret-of-this-test"
IDENTITY = "AKIALAB"


def asked(site, method="GET", target="/", body=b"", **fields: str) -> Asked:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return Asked(site, method, target, message, body)


def signed(key: str, body: bytes = b"content", sent: bytes | None = None) -> Asked:
    target = f"/{internet.BUCKET}/a%20folder/key.txt"
    request = AWSRequest("PUT", f"https://{internet.S3.name}{target}", data=body)
    S3SigV4Auth(Credentials(IDENTITY, key), "s3", internet.REGION).add_auth(request)
    message = Message()
    for name, value in request.headers.items():
        message[name] = value
    message["Host"] = internet.S3.name
    return Asked(internet.S3, "PUT", target, message, body if sent is None else sent)


@pytest.mark.parametrize(
    ("site", "right", "wrong"),
    [
        (internet.OPENAI, {"Authorization": f"Bearer {SECRET}"}, {"Authorization": f"Bearer {SECRET}x"}),
        (internet.ANTHROPIC, {"X_Api_Key": SECRET}, {"Authorization": f"Bearer {SECRET}"}),
        (internet.GITHUB, {"Authorization": f"token {SECRET}"}, {}),
        (
            internet.GITHUB_GIT,
            {"Authorization": "Basic " + base64.b64encode(f"x-access-token:{SECRET}".encode()).decode()},
            {"Authorization": "Basic " + base64.b64encode(b"x-access-token:other").decode()},
        ),
    ],
)
def test_the_secret_and_nothing_else(site, right: dict[str, str], wrong: dict[str, str]) -> None:
    if site is not internet.GITHUB_GIT:  # what it then answers is git's
        assert answer(asked(site, **right), SECRET)[0]
    known, said = answer(asked(site, **wrong), SECRET)
    assert (known, said.status) == (False, 401)


def test_a_signature_is_computed_again() -> None:
    known, said = answer(signed(SECRET), f"{IDENTITY}:{SECRET}")
    assert (known, said.status) == (True, 200)
    for other in (signed("another-key"), signed(SECRET, sent=b"other content")):
        known, said = answer(other, f"{IDENTITY}:{SECRET}")
        assert (known, said.status) == (False, 403)
        assert b"SignatureDoesNotMatch" in said.pieces[0]

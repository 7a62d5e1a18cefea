"""What AWS's own SDK sends, signed with a placeholder, made canonical as the gateway does, and signed anew."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

from appliance.broker.credentials.inject import needs_body
from appliance.broker.credentials.outgoing import Outgoing, applied
from appliance.broker.credentials.sigv4 import placeholder_of, sigv4_injection
from appliance.http1.target import parse_absolute
from appliance.policy.slot import Slot

from .support import NOW
from .test_sigv4 import HANDLE, S3, as_aws_reads, aws

KEYS = ["plain.txt", "with space/and (parens)'!*.txt", "pl+us=&?#.txt", "grün/日本.txt", "a:b@c,d;e~f"]


class Stopped(BaseException):  # the SDK tries again after an Exception
    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__("before it was sent")
        self.request = request


def sent(service: str, act: Callable[[Any], object]) -> AWSPreparedRequest:
    """The request that the SDK would send for `act`, with a handle for an access key."""

    def stop(request: AWSPreparedRequest, **_: Any) -> None:
        raise Stopped(request)

    session = botocore.session.Session()
    client = session.create_client(
        service,
        region_name="eu-west-1",
        aws_access_key_id=HANDLE,
        aws_secret_access_key="anything",
        config=Config(retries={"max_attempts": 1}),
    )
    client.meta.events.register("before-send", stop)
    with pytest.raises(Stopped) as stopped:
        act(client)
    return stopped.value.request


def as_judged(request: AWSPreparedRequest, *, streamed: bool) -> Outgoing:
    """The request as the gateway hands it over: canonical, without fields of the connection."""
    target = parse_absolute(request.url)
    assert target.authority is not None
    host = str(target.authority.host)
    body = request.body.read() if hasattr(request.body, "read") else request.body
    body = body.encode() if isinstance(body, str) else body or b""
    fields = tuple(
        (name.encode(), value if isinstance(value, bytes) else str(value).encode())
        for name, value in request.headers.items()
        if name.lower() not in {"content-length", "transfer-encoding", "expect"}
    )
    return Outgoing(
        request.method, "https", host, 443, target.path, target.query or "",
        ((b"host", host.encode()), *fields), None if streamed else body,
    )  # fmt: skip


def check(request: AWSPreparedRequest, *, s3: bool) -> Outgoing:
    authorization = request.headers["Authorization"]
    text = authorization.decode() if isinstance(authorization, bytes) else authorization
    assert placeholder_of(text) == HANDLE
    slot = Slot(style="sigv4")
    outgoing = as_judged(request, streamed=False)
    assert needs_body(slot, outgoing.host) is not s3
    if s3:
        outgoing = as_judged(request, streamed=True)
    wire = applied(outgoing, sigv4_injection(aws(**S3), slot, outgoing, NOW))
    assert as_aws_reads(wire, S3["secret_access_key"], s3=s3)
    assert HANDLE.encode() not in b"".join(value for _, value in wire.headers)
    return wire


@pytest.mark.parametrize("key", KEYS)
def test_objects_are_put_and_got_whatever_their_name(key: str) -> None:
    put = check(sent("s3", lambda s3: s3.put_object(Bucket="bucket", Key=key, Body=b"hello")), s3=True)
    got = check(sent("s3", lambda s3: s3.get_object(Bucket="bucket", Key=key, Range="bytes=0-9")), s3=True)
    assert (put.method, got.method) == ("PUT", "GET")
    assert put.path == got.path


def test_a_streamed_object_is_put() -> None:
    wire = check(
        sent("s3", lambda s3: s3.put_object(Bucket="b.with.dots", Key="k", Body=io.BytesIO(b"x" * 99))),
        s3=True,
    )
    fields = dict(wire.headers)
    assert fields[b"x-amz-content-sha256"] in {b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"UNSIGNED-PAYLOAD"}


def test_a_listing_with_an_awkward_prefix() -> None:
    wire = check(
        sent(
            "s3",
            lambda s3: s3.list_objects_v2(
                Bucket="bucket", Prefix="a b+c/ü&=", Delimiter="/", StartAfter="~'()*!"
            ),
        ),
        s3=True,
    )
    assert "list-type=2" in wire.query


def test_services_that_speak_json_and_forms() -> None:
    check(sent("dynamodb", lambda db: db.get_item(TableName="t", Key={"k": {"S": "ü"}})), s3=False)
    check(sent("sqs", lambda sqs: sqs.list_queues(QueueNamePrefix="a b")), s3=False)
    check(sent("sts", lambda sts: sts.get_caller_identity()), s3=False)
    check(
        sent("lambda", lambda fn: fn.get_function(FunctionName="arn:aws:lambda:eu-west-1:1:function:f")),
        s3=False,
    )

"""AWS's SDK for Python, unmodified: objects of a bucket, by its path and by its name."""

import io
import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TEXT = b"what was put " * 8000  # of a size that boto3 asks leave for (Expect: 100-continue)


def tried(what):
    try:
        return {"ok": what()}
    except (ClientError, BotoCoreError) as error:
        return {"error": type(error).__name__, "said": str(error)}


def downloaded(s3, bucket, key):
    into = io.BytesIO()
    s3.download_fileobj(bucket, key, into)
    return into.getvalue()


def through(style):
    config = Config(s3={"addressing_style": style}, retries={"total_max_attempts": 1})
    s3 = boto3.client("s3", region_name=os.environ["REGION"], aws_access_key_id=os.environ["KEY"],
                      aws_secret_access_key="none", config=config)  # fmt: skip
    bucket, key = os.environ["BUCKET"], f"a folder/{style} ü+&=.txt"
    return {
        "put": tried(lambda: s3.put_object(Bucket=bucket, Key=key, Body=TEXT)["ETag"]),
        "put-small": tried(
            lambda: s3.put_object(Bucket=bucket, Key=f"{style}-small", Body=b"x", ContentType="text/plain")[
                "ETag"
            ]
        ),
        "get": tried(lambda: s3.get_object(Bucket=bucket, Key=key)["Body"].read() == TEXT),
        "head": tried(lambda: s3.head_object(Bucket=bucket, Key=key)["ContentLength"]),
        "size": len(TEXT),
        "download": tried(lambda: downloaded(s3, bucket, key) == TEXT),
        "list": tried(lambda: len(s3.list_objects_v2(Bucket=bucket, Prefix="a folder/")["Contents"])),
        "missing": tried(lambda: s3.get_object(Bucket=bucket, Key="missing")),
        "another": tried(lambda: s3.list_objects_v2(Bucket="somebody-elses")["Contents"]),
    }


print(json.dumps({style: through(style) for style in ("path", "virtual")}))

"""appliance.broker.credentials.aws_hosts: what a host does not say for sure, is not guessed."""

from __future__ import annotations

import pytest

from appliance.broker.credentials.aws_hosts import scope_of


@pytest.mark.parametrize(
    ("host", "service", "region"),
    [
        ("s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("bucket.s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("my.dotted.bucket.s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("bucket.s3.dualstack.us-west-2.amazonaws.com", "s3", "us-west-2"),
        ("bucket.s3-fips.us-gov-west-1.amazonaws.com", "s3", "us-gov-west-1"),
        ("s3-eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("bucket.s3-eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("s3.amazonaws.com", "s3", "us-east-1"),
        ("bucket.s3.amazonaws.com", "s3", "us-east-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "s3", "cn-north-1"),
        ("123456789012.s3-control.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("dynamodb.ap-southeast-2.amazonaws.com", "dynamodb", "ap-southeast-2"),
        ("streams.dynamodb.us-east-1.amazonaws.com", "dynamodb", "us-east-1"),
        ("sqs.us-east-1.amazonaws.com", "sqs", "us-east-1"),
        ("sqs.eu-central-1.api.aws", "sqs", "eu-central-1"),
        ("kms-fips.us-east-2.amazonaws.com", "kms", "us-east-2"),
        ("sts.amazonaws.com", "sts", "us-east-1"),
        ("sts.eu-west-3.amazonaws.com", "sts", "eu-west-3"),
        ("iam.amazonaws.com", "iam", "us-east-1"),
        ("email.eu-west-1.amazonaws.com", "ses", "eu-west-1"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock", "us-east-1"),
        ("api.ecr.us-east-1.amazonaws.com", "ecr", "us-east-1"),
        ("a1b2c3.execute-api.eu-west-1.amazonaws.com", "execute-api", "eu-west-1"),
        ("a1b2c3.lambda-url.eu-west-1.on.aws", "lambda", "eu-west-1"),
        # Not said, or not known.
        ("dynamodb.amazonaws.com", "dynamodb", None),
        ("iam.cn-north-1.amazonaws.com.cn", "iam", "cn-north-1"),
        ("iam.amazonaws.com.cn", "iam", None),
        ("search-x.y.eu-west-1.amazonaws.com", None, "eu-west-1"),
        ("minio.example.com", None, None),
        ("s3.eu-west-1.amazonaws.com.evil.example", None, None),
        ("amazonaws.com", None, None),
        (".amazonaws.com", None, None),
        ("eu-west-1.amazonaws.com", "eu-west-1", None),
    ],
)
def test_service_and_region_of(host: str, service: str | None, region: str | None) -> None:
    assert scope_of(host) == (service, region)

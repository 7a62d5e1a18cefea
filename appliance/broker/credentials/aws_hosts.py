"""Which AWS service and region a host name speaks of: the credential scope of its signatures.

Sources: AWS General Reference, "Service endpoints and quotas"; Amazon S3 User Guide, "Virtual hosting of
buckets". The name in a scope is not always the name in a host; those that differ are in the table. What is
not known for sure is not guessed: the definition's slot says it then.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SUFFIXES = (".amazonaws.com.cn", ".amazonaws.com", ".api.aws", ".on.aws")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-[1-9][0-9]?")
_OLD_S3 = re.compile(r"s3[-.]([a-z]{2}(?:-[a-z]+){1,2}-[1-9])")

# Services with one host for the world; their signatures are for this region; elsewhere the slot says it.
_GLOBAL_REGION = "us-east-1"
_GLOBAL = frozenset(
    {"iam", "sts", "s3", "route53", "cloudfront", "organizations", "budgets", "health", "support"}
)
_SIGNING_NAMES = {
    "api.ecr": "ecr",
    "api.sagemaker": "sagemaker",
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-runtime": "bedrock",
    "data.iot": "iotdata",
    "email": "ses",
    "entitlement.marketplace": "aws-marketplace",
    "lambda-url": "lambda",
    "oidc": "sso-oauth",
    "portal.sso": "awsssoportal",
    "runtime.sagemaker": "sagemaker",
    "s3-accesspoint": "s3",
    "s3-control": "s3",
    "s3-fips": "s3",
    "streams.dynamodb": "dynamodb",
}
# What stands before these is the customer's own name: bucket, API, function, account.
_NAMED_BY_CUSTOMER = ("s3", "s3-fips", "s3-control", "s3-accesspoint", "execute-api", "lambda-url")


class Scope(NamedTuple):
    """Service and region as a credential scope has them; None where the host does not say."""

    service: str | None
    region: str | None


def scope_of(host: str) -> Scope:
    """The scope that `host` (a name in lower case) speaks of."""
    rest = next((host.removesuffix(suffix) for suffix in _SUFFIXES if host.endswith(suffix)), "")
    if not rest:
        return Scope(None, None)
    old = _OLD_S3.fullmatch(".".join(rest.split(".")[-1:])) or _OLD_S3.fullmatch(
        ".".join(rest.split(".")[-2:])
    )
    if old:
        return Scope("s3", old[1])
    labels = [label for label in rest.split(".") if label != "dualstack"]
    region = labels.pop() if len(labels) > 1 and _REGION.fullmatch(labels[-1]) else None
    if labels[-1] in _NAMED_BY_CUSTOMER:
        labels = labels[-1:]
    service = ".".join(labels).removesuffix("-fips")
    service = _SIGNING_NAMES.get(service, service)
    if "." in service:
        return Scope(None, region)
    of_world = service in _GLOBAL and host.endswith(".amazonaws.com")
    return Scope(service, region or (_GLOBAL_REGION if of_world else None))

"""The JSON Schemas (draft 2020-12) of the policy documents, from the models that read them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from appliance.policy.accounts import AccountsDocument
from appliance.policy.definition import DefinitionDocument
from appliance.policy.documents import NamedPolicyDocument, OperatorDocument, TenantDocument

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def tenant_schema() -> dict[str, Any]:
    """Schema of `tenants/<tenant>.yaml`."""
    return _schema(TenantDocument, "Egress policy of a tenant")


def named_schema() -> dict[str, Any]:
    """Schema of `policies/<name>.yaml`."""
    return _schema(NamedPolicyDocument, "Named egress policy")


def operator_schema() -> dict[str, Any]:
    """Schema of `operator.yaml`."""
    return _schema(OperatorDocument, "Egress policy of the operator")


def accounts_schema() -> dict[str, Any]:
    """Schema of `accounts.yaml`."""
    return _schema(AccountsDocument, "Integration accounts")


def integration_schema() -> dict[str, Any]:
    """Schema of `integrations/<name>.yaml`."""
    return _schema(DefinitionDocument, "Integration definition")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema(), "title": title}

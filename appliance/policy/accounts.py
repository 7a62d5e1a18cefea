"""`accounts.yaml`: which tenants may use which integration, with which secret of the vault."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from appliance.policy.definition import Name, ParameterValues, TokenHosts
from appliance.policy.documents import ExactHost, Tenants, Text, distinct

ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ACCOUNT_NAME_MEND = "use up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"


def _account_name(value: str) -> str:
    if not ACCOUNT_NAME.fullmatch(value):
        raise ValueError(f"{value!a} is no account name; {ACCOUNT_NAME_MEND}")
    return value


AccountName = Annotated[Text, AfterValidator(_account_name)]
_Groups = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountDocument(_Document):
    """One integration account: a definition, bound to tenants."""

    name: AccountName
    integration: Name
    tenants: Tenants
    secret: AccountName | None = Field(
        None, description="name of the secret in the vault; left out: the account's name"
    )
    host: ExactHost | None = Field(
        None, description="the host, where the definition asks for it; or one that its wildcard covers"
    )
    token_hosts: TokenHosts | None = Field(
        None, description="where its secret is exchanged, if the definition asks; left out: its own host"
    )
    groups: _Groups | None = Field(None, description="only these groups of the definition; left out: all")
    parameters: Annotated[dict[str, ParameterValues], Field(min_length=1)] | None = None


class AccountsDocument(_Document):
    """The whole document; `{}` is: no accounts."""

    description: str = ""
    accounts: Annotated[tuple[AccountDocument, ...], Field(min_length=1, max_length=1000)] | None = None

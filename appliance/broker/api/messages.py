"""What may be asked in JSON: exactly these members, of exactly these types, none of them twice."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.broker.api import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.identity.strict_json import parse_object

MAX_MEMBERS = 256
"""Of a message, and of each of its members: a fault of each of many would be looked for, and written down."""

Name = Annotated[str, Field(min_length=1, max_length=128)]


class Message(BaseModel):
    """Nothing is converted, nothing more is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class SessionWish(Message):
    """`ttl` in seconds. With `dpop` the session is bound to the key of the request's proof.

    With `account` the token stands in that account's slot and serves nothing else; `shape` is a form that
    the provider's client takes for a key (`token_shapes.SHAPES`).
    """

    ttl: int
    dpop: bool = False
    account: Name | None = None
    shape: Name = "plain"


class HandleWish(Message):
    """A handle for the account's secret."""

    account: Name


class ExecuteWish(Message):
    """One request to a provider: by the account's name, or by its integration's (`connector`).

    Who asks and what that one may is not the message's to say: `actor` and `scopes` may stand in it, and
    nobody reads them.
    """

    account: Name | None = None
    connector: Name | None = None
    url: Annotated[str, Field(max_length=8 * 1024)]
    method: Annotated[str, Field(max_length=32)]
    headers: dict[str, str]
    body: str | None
    actor: object = None
    scopes: object = None

    @model_validator(mode="after")
    def _names_one(self) -> ExecuteWish:
        if (self.account is None) == (self.connector is None):
            raise ValueError("account or connector, and not both")
        return self


M = TypeVar("M", bound=Message)


def parsed(kind: type[M], body: bytes) -> M:
    """The message. Raises `CallRefused`, which quotes nothing of it but the names of its members."""
    try:
        members = parse_object(body)
        if any(
            isinstance(one, dict | list) and len(one) > MAX_MEMBERS for one in (members, *members.values())
        ):
            raise CallRefused(refusals.body_invalid(f"more than {MAX_MEMBERS} members or header fields"))
        return kind.model_validate(members)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80] or "the body"
        raise CallRefused(refusals.body_invalid(f"{where}: {first['msg']}")) from None
    except ValueError:
        raise CallRefused(refusals.body_invalid("not one JSON object, or a member twice")) from None

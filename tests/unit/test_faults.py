"""Every kind of value that pydantic refuses is worded with what to write instead."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from appliance.faults import faults
from appliance.yamldoc import loads


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    port: Annotated[int, Field(ge=1, le=9)] = 1


class Written(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int = 0
    small: float = Field(default=0.5, lt=1)
    flag: bool = False
    text: Annotated[str, StringConstraints(pattern="^a+$")] = "a"
    address: IPv4Address = IPv4Address("192.0.2.1")
    interface: IPv4Interface = IPv4Interface("192.0.2.1/30")
    networks: tuple[IPv6Network, ...] = ()
    inner: tuple[Inner, ...] = ()
    own: str = ""

    @field_validator("own")
    @classmethod
    def _refuse(cls, value: str) -> str:
        raise ValueError(f"{value!r} is wrong; write right")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("numbr: 1", "f.yaml:1:1: unknown key 'numbr'; did you mean 'number'?"),
        ("number: many", "f.yaml:1:1: number: many is no whole number; write digits without quotes"),
        ("number: 1.5", "f.yaml:1:1: number: 1.5 is no whole number; write digits without quotes"),
        ("number: [1]", "f.yaml:1:1: number: [1] is no whole number; write digits without quotes"),
        ("small: 2", "f.yaml:1:1: small: 2: Input should be less than 1; write another value"),
        ("flag: 7", "f.yaml:1:1: flag: 7 is neither true nor false; write true or false"),
        ("text: b", "f.yaml:1:1: text: b does not fit; write one that fits ^a+$"),
        ("text: 5", "f.yaml:1:1: text: 5 is no text; write it like 'text', in quotes"),
        ("address: x.example", "f.yaml:1:1: address: x.example is no IPv4 address; write it like 192.0.2.1"),
        ("interface: 1.2.3", "is no IPv4 address with its prefix length; write it like 192.0.2.2/30"),
        ("networks: [y]", "f.yaml:1:12: networks[0]: y is no IPv6 network; write it like 64:ff9b::/96"),
        ("inner: [{port: 0}]", "f.yaml:1:10: inner[0].port: 0 is too small; write 1 or more"),
        ("inner: [{port: 10}]", "f.yaml:1:10: inner[0].port: 10 is too large; write 9 or less"),
        ("own: x", "f.yaml:1:1: own: 'x' is wrong; write right"),
        ("[]", "f.yaml:1:1: the document must hold keys and values; write one `key: value` a line"),
    ],
)
def test_place_message_and_mend(text: str, line: str) -> None:
    document = loads(text.encode(), "f.yaml")
    with pytest.raises(ValidationError) as refused:
        Written.model_validate(document.data)
    (fault,) = faults(refused.value, document, Written)
    assert line in str(fault)
    assert fault.mend

"""The values that pass between the parts cannot change on their way."""

import dataclasses

import pytest

from appliance.resolver.outcome import Absent, Answered, Found, Unusable

from .fakes import PUBLIC


@pytest.mark.parametrize(
    "value",
    [
        Found((PUBLIC,), (), 60),
        Absent((), 60, exists=True),
        Unusable("upstream-failed", "…"),
        Answered((PUBLIC,), 60, fresh=True),
    ],
)
def test_a_value_is_immutable_and_compares_by_content(value):
    assert value == dataclasses.replace(value)
    assert hash(value) == hash(dataclasses.replace(value))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)

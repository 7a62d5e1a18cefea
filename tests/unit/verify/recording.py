"""A world that only writes down what it is asked to do, and answers as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.verify.case import Output
from tests.unit.verify.fake_world import TARGETS


class Recording:
    """`answers` gives the output of a command of the operator, by its words."""

    def __init__(self, answers: Callable[..., Output] = lambda *_words: Output(0, "")) -> None:
        self.targets = TARGETS
        self.tenants = {"reader": "acme", "lister": "globex"}
        self.did: list[tuple[Any, ...]] = []
        self._answers = answers

    def egress(self, *words: str) -> Output:
        self.did.append(("egress", *words))
        return self._answers(*words)

    def __getattr__(self, name: str) -> Any:
        def do(*words: object, **named: object) -> bool:
            self.did.append((name, *words, *named.values()))
            return True

        return do

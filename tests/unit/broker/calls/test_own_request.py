"""The broker's own requests: to named hosts alone, by judged addresses, read as they come."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from appliance.broker.calls.own_request import MAX_HELD, OwnAnswer, OwnRequest, OwnRequests
from appliance.broker.credentials.outgoing import NoAnswer
from appliance.http1.refused import UpstreamInvalid
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import TenantPolicy
from tests.unit.broker.calls.servers import Anywhere, WithAServer, exchanging
from tests.unit.broker.calls.support import ATTESTED, policy_of
from tests.unit.broker.identity.answers import outcome
from tests.unit.policy.written import operator_layer


class Sent(WithAServer):
    async def send(self, url: str = "https://ok.example/keys", policy: TenantPolicy | None = None, **more):
        request = OwnRequest(
            more.get("method", "GET"), url, **{k: v for k, v in more.items() if k != "method"}
        )
        in_force = policy if callable(policy) else lambda: policy or Anywhere()
        return await OwnRequests(self.providers).send(ATTESTED, in_force, "crm", request)

    async def refused(self, *found, **more) -> str:
        with pytest.raises(NoAnswer) as caught:
            await self.send(*found, **more)
        return getattr(caught.value, "reason", "")

    async def test_a_get_has_neither_body_nor_length_and_is_read_piece_by_piece(self) -> None:
        answer = await self.send(fields=((b"Accept", b"application/json"),))
        assert answer.status == 200
        assert [await answer.read(3), await answer.read(3), await answer.read(3)] == [b'{"a', b'"', b""]
        answer.abort()
        assert self.heard == [b"GET /keys HTTP/1.1\r\nHost: ok.example\r\nAccept: application/json\r\n\r\n"]

    async def test_the_worker_is_told_for_which_account_it_is(self) -> None:
        (await self.send()).abort()
        assert self.dials.accounts == ["crm", "crm"]

    async def test_a_host_that_nobody_names_is_not_asked(self) -> None:
        allowing = policy_of(exchanging(("other.example", 443)))  # its profile would allow reading there
        assert await self.refused(policy=allowing) == "token-host-not-named"
        await self.refused("https://ok.example:444/keys")
        assert self.dials.accounts == []

    async def test_what_the_operator_denies_is_not_asked(self) -> None:
        for rule in ("{hosts: [ok.example]}", "{hosts: [ok.example], methods: [GET], paths: [/keys]}"):
            index = RuleIndex(operator_layer(f"deny: [{rule}]").entries)
            await self.refused(policy=Anywhere(operator=index))
        assert self.dials.accounts == []

    async def test_000_22_a_private_address_is_not_asked(self) -> None:
        assert await self.refused(policy=policy_of(exchanging(("ok.example", 443)))) == "private-address"
        assert self.dials.dialled == 0

    async def test_only_https_urls_with_a_name_are_asked(self) -> None:
        for url in ("http://ok.example/", "https://10.0.1.5/", "ok.example", "https://a@ok.example/"):
            await self.refused(url)
        assert self.dials.accounts == []

    async def test_004_24_who_proves_another_name_is_told_nothing(self) -> None:
        policy = Anywhere(exchanging(("other.example", 443)))
        reason = await self.refused("https://other.example/", policy=policy, method="POST", body=b"secret")
        assert reason == "upstream-certificate-wrong-host"
        assert self.heard == []

    async def test_what_was_taken_away_while_it_was_connected_is_shown_to_nobody(self) -> None:
        nobody, denied = (
            policy_of(),
            Anywhere(operator=RuleIndex(operator_layer("deny: [{hosts: [ok.example]}]").entries)),
        )
        for asked, dialled in ((1, 0), (2, 1)):
            for then in (nobody, denied):
                policies = iter([Anywhere()] * asked + [then])
                self.dials.dialled = 0
                await self.refused(
                    policy=lambda policies=policies: next(policies), method="POST", body=b"secret"
                )
                assert self.dials.dialled == dialled
        for _ in range(100):
            if not self.providers._deadlines._watched:
                break
            await deferLater(reactor, 0.01)
        assert (self.heard, self.providers._deadlines._watched) == ([], set())

    async def test_a_redirect_is_an_answer_and_nothing_else(self) -> None:
        self.says = b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
        answer = await self.send()
        assert (answer.status, await answer.read(10)) == (302, b"")
        answer.abort()
        assert self.dials.dialled == 1

    async def test_000_74_who_is_cancelled_ends_the_connection(self) -> None:
        self.says = b""
        asking = Deferred.fromCoroutine(self.send())
        while not self.heard:
            await deferLater(reactor, 0.01)
        asking.cancel()
        with pytest.raises(CancelledError):
            await asking
        for _ in range(100):
            if not self.providers._deadlines._watched:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("the connection is still open")


class Ended:
    aborted = 0

    def abort(self) -> None:
        self.aborted += 1


def test_whatever_ends_early_is_no_answer() -> None:
    for end in ("response_missing", "response_failed", "response_broken"):
        answer = OwnAnswer(Ended())
        failures: list = []
        answer.begun.addErrback(failures.append)
        arguments = [UpstreamInvalid("obs-fold", "x")] if end == "response_broken" else []
        getattr(answer, end)(*arguments)
        getattr(answer, end)(*arguments)
        assert isinstance(failures[0].value, NoAnswer)
        assert isinstance(outcome(answer.read(1)), NoAnswer)


def test_octets_of_the_framing_are_not_the_end_of_the_body() -> None:
    answer = OwnAnswer(Ended())
    seen: list = []
    Deferred.fromCoroutine(answer.read(9)).addCallback(seen.append)
    answer.response(None, [], done=False)
    assert seen == []
    answer.response(None, [b"ab"], done=True)
    assert seen == [b"ab"]


def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    answer = OwnAnswer(Ended())
    seen: list = []
    answer.response(None, [b"ab"], done=False)
    assert outcome(answer.read(9)) == b"ab"
    Deferred.fromCoroutine(answer.read(9)).addErrback(seen.append)
    answer.response_missing()
    assert isinstance(seen[0].value, NoAnswer)


def test_000_79_what_nobody_reads_is_not_kept() -> None:
    ended = Ended()
    answer = OwnAnswer(ended)
    answer.response(None, [b"x" * MAX_HELD], done=False)
    assert not ended.aborted
    answer.response(None, [b"x"], done=False)
    assert ended.aborted
    assert isinstance(outcome(answer.read(1)), NoAnswer)

"""What is written down about a lookup."""

import dns.rcode

from appliance.audit.record import Outcome
from appliance.resolver.outcome import Answered, Declined
from appliance.resolver.records import record_of

from .fakes import PUBLIC

WHERE = {
    "tenant": "acme",
    "source": "172.18.0.2:4000",
    "destination": "172.18.0.1",
    "transport": "udp",
    "name": "ok.example",
    "kind": "A",
    "seconds": 0.25,
}


def test_a_question_that_went_upstream_is_recorded_with_its_addresses(endpoint):
    record = record_of(Answered((PUBLIC,), 60, fresh=True), endpoint, **WHERE)
    assert (record.outcome, record.reason, record.rcode) == (Outcome.ALLOWED, "resolved", "NOERROR")
    assert record.addresses == (str(PUBLIC),)
    assert (record.ttl, record.duration_ms) == (60, 250)
    assert (record.endpoint, record.container, record.run) == ("e1", "c1", "r1")


def test_an_answer_out_of_the_cache_is_not_recorded_again(endpoint):
    assert record_of(Answered((PUBLIC,), 60, fresh=False), endpoint, **WHERE) is None


def test_every_refusal_is_recorded_with_its_rule():
    declined = Declined(
        Outcome.DENIED, "host-not-listed", "acme.yaml:3", "Not listed.", dns.rcode.REFUSED, None
    )
    record = record_of(declined, None, **WHERE)
    assert (record.outcome, record.reason, record.rule) == (Outcome.DENIED, "host-not-listed", "acme.yaml:3")
    assert (record.rcode, record.addresses, record.endpoint) == ("REFUSED", (), None)

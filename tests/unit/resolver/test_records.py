"""What is written down about a lookup."""

import dns.rcode

from appliance.audit.record import Outcome
from appliance.resolver.outcome import Answered, Declined
from appliance.resolver.records import is_recorded, record_of, write_record
from appliance.telling import Bounds

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
DECLINED = Declined(Outcome.DENIED, "host-not-listed", "acme.yaml:3", "Not listed.", dns.rcode.REFUSED, None)


def test_a_question_that_went_upstream_is_recorded_with_its_addresses(endpoint):
    record = record_of(Answered((PUBLIC,), 60, fresh=True), endpoint, **WHERE)
    assert (record.outcome, record.reason, record.rcode) == (Outcome.ALLOWED, "resolved", "NOERROR")
    assert record.addresses == (str(PUBLIC),)
    assert (record.ttl, record.duration_ms) == (60, 250)
    assert (record.endpoint, record.container, record.run) == ("e1", "c1", "r1")


def test_an_answer_out_of_the_cache_is_not_recorded_again():
    assert is_recorded(Answered((PUBLIC,), 60, fresh=True))
    assert not is_recorded(Answered((PUBLIC,), 60))


def test_every_refusal_is_recorded_with_its_rule():
    assert is_recorded(DECLINED)
    record = record_of(DECLINED, None, **WHERE)
    assert (record.outcome, record.reason, record.rule) == (Outcome.DENIED, "host-not-listed", "acme.yaml:3")
    assert (record.rcode, record.addresses, record.endpoint) == ("REFUSED", (), None)


def test_what_went_upstream_always_has_its_own_record_and_a_flood_of_refusals_has_not(
    audit, telling, endpoint
):
    record = record_of(DECLINED, endpoint, **WHERE)
    for fresh in (False, True):
        for _ in range(100):
            write_record(record, audit.claim(), telling, fresh=fresh)
    assert len(audit.records) == Bounds().per_second + 100
    assert audit.open == 1
    telling.close()
    assert audit.open == 0
    assert sum(record.count for record in audit.records) == 200

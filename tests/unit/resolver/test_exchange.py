"""Which replies of an upstream server are believed (B11), and what they say (B7)."""

import itertools

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.resolver.exchange import Foreign, Retry, read_reply, write_query
from appliance.resolver.outcome import Absent, Found, Unusable
from appliance.resolver.reply import MAX_RECORDS, MAX_REPLY

from .fakes import PUBLIC, PUBLIC_TOO, name


def bits(pattern):
    return lambda count: pattern & ((1 << count) - 1)


@pytest.fixture
def query():
    return write_query(name("www.ok.example"), bits(0b1010101010101010))


def reply_to(query, *records, rcode=dns.rcode.NOERROR, asked=None, identity=None, authority=()):
    message = dns.message.make_query(asked or query.asked, "A", id=identity or query.identity)
    message.flags |= dns.flags.QR | dns.flags.RA
    message.set_rcode(rcode)
    message.answer = [dns.rrset.from_text(*record) for record in records]
    message.authority = [dns.rrset.from_text(*record) for record in authority]
    return message


def read(query, message, *, over_tcp=False):
    return read_reply(query, message.to_wire(), over_tcp=over_tcp)


A = ("www.ok.example.", 60, "IN", "A", str(PUBLIC))


def test_a_query_has_the_case_and_id_that_chance_gives(query):
    sent = dns.message.from_wire(query.wire)
    assert sent.id == 0b1010101010101010
    text = sent.question[0].name.to_text(omit_final_dot=True)
    assert text.lower() == "www.ok.example"
    assert text != text.lower()
    assert sent.flags & dns.flags.RD
    assert sent.payload == 1232
    assert sent.to_wire() == query.wire
    assert write_query(name("www.ok.example"), bits(0)).asked.to_text() == "www.ok.example."


def test_a_reply_gives_its_addresses(query):
    reply = reply_to(query, (*A, str(PUBLIC_TOO)))
    found = read(query, reply)
    assert set(found.addresses) == {PUBLIC, PUBLIC_TOO}
    assert (found.links, found.ttl) == ((), 60)


def test_b11_another_id_is_not_ours(query):
    assert isinstance(read(query, reply_to(query, A, identity=query.identity ^ 1)), Foreign)


def test_b11_another_question_is_not_ours(query):
    assert isinstance(read(query, reply_to(query, A, asked=dns.name.from_text("evil.example"))), Foreign)
    reply = reply_to(query, A)
    reply.question[0].rdtype = dns.rdatatype.TXT
    assert isinstance(read(query, reply), Foreign)


def test_b11_a_query_is_no_reply(query):
    reply = reply_to(query, A)
    reply.flags &= ~dns.flags.QR
    assert isinstance(read(query, reply), Foreign)


def test_b11_the_wrong_case_is_not_believed_over_udp_but_over_tcp(query):
    lower = reply_to(query, A, asked=dns.name.from_text("www.ok.example"))
    assert isinstance(read(query, lower), Retry)
    assert read(query, lower, over_tcp=True) == Found((PUBLIC,), (), 60)


def test_a_truncated_reply_is_asked_again_over_tcp(query):
    reply = reply_to(query, A)
    reply.flags |= dns.flags.TC
    assert isinstance(read(query, reply), Retry)
    assert isinstance(read(query, reply, over_tcp=True), Unusable)


def test_b11_addresses_of_other_names_are_not_taken(query):
    evil = ("evil.example.", 60, "IN", "A", "6.6.6.6")
    assert read(query, reply_to(query, evil)) == Absent((), 0, exists=True)
    assert read(query, reply_to(query, evil, A)) == Found((PUBLIC,), (), 60)


def test_aliases_are_followed_inside_the_answer_in_any_order(query):
    reply = reply_to(
        query,
        ("b.cdn.example.", 30, "IN", "A", str(PUBLIC)),
        ("a.cdn.example.", 50, "IN", "CNAME", "b.cdn.example."),
        ("www.ok.example.", 60, "IN", "CNAME", "A.cdn.example."),
    )
    assert read(query, reply) == Found((PUBLIC,), (name("a.cdn.example"), name("b.cdn.example")), 30)


def test_an_alias_without_its_end_names_what_to_ask_next(query):
    reply = reply_to(query, ("www.ok.example.", 60, "IN", "CNAME", "a.cdn.example."))
    assert read(query, reply) == Absent((name("a.cdn.example"),), 0, exists=True)


@pytest.mark.parametrize("target", ["127.0.0.1.", "a\\000b.example.", "under_score.example.", "1.2.3."])
def test_an_alias_to_what_is_no_host_name_is_not_used(query, target):
    reply = reply_to(query, ("www.ok.example.", 60, "IN", "CNAME", target))
    assert isinstance(read(query, reply), Unusable)


def test_a_loop_of_aliases_ends(query):
    reply = reply_to(
        query,
        ("www.ok.example.", 60, "IN", "CNAME", "a.example."),
        ("a.example.", 60, "IN", "CNAME", "www.ok.example."),
    )
    assert isinstance(read(query, reply), Unusable)


def test_a_chain_has_at_most_eight_links(query):
    names = ["www.ok.example.", *(f"n{step}.example." for step in range(9))]
    links = [(a, 60, "IN", "CNAME", b) for a, b in itertools.pairwise(names)]
    eight = read(query, reply_to(query, *links[:8], (names[8], 60, "IN", "A", str(PUBLIC))))
    assert isinstance(eight, Found)
    nine = read(query, reply_to(query, *links, (names[9], 60, "IN", "A", str(PUBLIC))))
    assert isinstance(nine, Unusable)


SOA = "ns.example. root.example. 1 2 3 4 20"


def test_absence_lasts_as_long_as_the_zone_says(query):
    reply = reply_to(query, rcode=dns.rcode.NXDOMAIN, authority=[("ok.example.", 900, "IN", "SOA", SOA)])
    assert read(query, reply) == Absent((), 20, exists=False)


def test_nxdomain_with_an_address_contradicts_itself(query):
    assert isinstance(read(query, reply_to(query, A, rcode=dns.rcode.NXDOMAIN)), Unusable)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR])
def test_another_rcode_is_a_failure_of_that_server(query, rcode):
    assert isinstance(read(query, reply_to(query, rcode=rcode)), Unusable)


def test_b11_a_reply_with_too_many_addresses_is_not_used(query):
    many = [str(PUBLIC + step) for step in range(129)]
    assert isinstance(read(query, reply_to(query, (*A[:4], *many[:128]))), Found)
    assert read(query, reply_to(query, (*A[:4], *many))).final


def test_b11_an_alias_of_two_targets_is_not_used(query):
    reply = reply_to(query, ("www.ok.example.", 60, "IN", "CNAME", "a.example."))
    wire = bytearray(reply.to_wire())
    second = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x13"
    wire += second
    wire[7] = 2
    assert "ambiguous" in read_reply(query, bytes(wire), over_tcp=True).detail


def test_a_reply_with_too_many_records_is_asked_for_over_tcp_and_there_it_ends(query):
    many = (str(PUBLIC + step) for step in range(MAX_RECORDS))
    reply = reply_to(query, A, authority=[("ok.example.", 60, "IN", "A", *many)])
    assert isinstance(read(query, reply), Retry)
    assert read(query, reply, over_tcp=True).final


def test_a_reply_of_too_many_octets_is_asked_for_over_tcp_and_there_it_ends(query):
    texts = [f'"{number:0250}"' for number in range(17)]
    reply = reply_to(query, A, authority=[("ok.example.", 60, "IN", "TXT", *texts)])
    assert len(reply.to_wire()) > MAX_REPLY
    assert isinstance(read(query, reply), Retry)
    assert read(query, reply, over_tcp=True).final


def test_an_extended_rcode_is_a_failure_of_that_server(query):
    result = read(query, reply_to(query, A, rcode=dns.rcode.BADVERS))
    assert result == Unusable("upstream-failed", "the name server answered BADVERS")


def test_b11_a_reply_of_two_questions_or_none_is_not_read(query):
    reply = reply_to(query, A)
    reply.question.append(reply.question[0])
    assert isinstance(read_reply(query, reply.to_wire(), over_tcp=False), Retry)
    assert isinstance(read_reply(query, reply.to_wire(), over_tcp=True), Unusable)


@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_make_the_reader_raise(tail, over_tcp):
    query = write_query(name("www.ok.example"), bits(0x5555))
    head = query.identity.to_bytes(2, "big") + b"\x81\x80\0\1\0\1\0\0\0\0" + query.wire[12:32]
    read_reply(query, tail, over_tcp=over_tcp)
    read_reply(query, head + tail, over_tcp=over_tcp)
    read_reply(query, head + b"\xc0\x0c\0\1\0\1" + tail, over_tcp=over_tcp)

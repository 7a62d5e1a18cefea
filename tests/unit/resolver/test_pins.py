"""Which addresses may still be used under a name (B7, B12, B13)."""

from appliance.resolver.pins import ADDRESSES_PER_NAME, NAMES_PER_TENANT, Pins, pin_life

from .fakes import PUBLIC, PUBLIC_TOO, name

OK = name("ok.example")


def test_a_pin_outlives_its_ttl_by_a_bounded_grace():
    assert pin_life(0) == 120
    assert pin_life(300) == 600
    pins = Pins()
    pins.add("acme", OK, [PUBLIC], 5, now=0)
    assert pins.holds("acme", OK, PUBLIC, 119.9)
    assert not pins.holds("acme", OK, PUBLIC, 120)


def test_b13_a_pin_is_of_one_name_and_one_tenant():
    pins = Pins()
    pins.add("acme", OK, [PUBLIC], 60, now=0)
    assert not pins.holds("acme", name("other.example"), PUBLIC, 1)
    assert not pins.holds("other", OK, PUBLIC, 1)
    assert not pins.holds("acme", OK, PUBLIC_TOO, 1)


def test_rotating_answers_leave_earlier_pins_in_force():
    pins = Pins()
    pins.add("acme", OK, [PUBLIC], 5, now=0)
    pins.add("acme", OK, [PUBLIC_TOO], 5, now=60)
    assert pins.holds("acme", OK, PUBLIC, 61)
    assert not pins.holds("acme", OK, PUBLIC, 121)
    assert pins.holds("acme", OK, PUBLIC_TOO, 121)


def test_a_shorter_ttl_does_not_shorten_a_pin():
    pins = Pins()
    pins.add("acme", OK, [PUBLIC], 300, now=0)
    pins.add("acme", OK, [PUBLIC], 5, now=1)
    assert pins.holds("acme", OK, PUBLIC, 599)


def test_the_number_of_addresses_and_names_is_bounded():
    pins = Pins()
    for step in range(ADDRESSES_PER_NAME + 10):
        pins.add("acme", OK, [PUBLIC + step], 60, now=step / 100)
    assert not pins.holds("acme", OK, PUBLIC, 2)
    assert pins.holds("acme", OK, PUBLIC + ADDRESSES_PER_NAME + 9, 2)
    for step in range(NAMES_PER_TENANT):
        pins.add("acme", name(f"n{step}.example"), [PUBLIC], 60, now=2)
    assert len(pins) == NAMES_PER_TENANT
    assert not pins.holds("acme", OK, PUBLIC + ADDRESSES_PER_NAME + 9, 2)

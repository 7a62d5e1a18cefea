"""How many questions a container may ask (F4)."""

from appliance.resolver.rate import Admission, QuestionRate


def test_a_burst_is_admitted_and_then_a_steady_rate():
    rate = QuestionRate(10)
    assert [rate.admit("e", 0.0, "acme", 1000) for _ in range(10)] == [Admission.ADMITTED] * 10
    assert rate.admit("e", 0.0, "acme", 1000) is Admission.LIMITED_FIRST
    assert rate.admit("e", 0.05, "acme", 1000) is Admission.LIMITED
    assert rate.admit("e", 0.15, "acme", 1000) is Admission.ADMITTED
    assert rate.admit("e", 0.15, "acme", 1000) is Admission.LIMITED_FIRST


def test_quiet_does_not_save_up_more_than_a_burst():
    rate = QuestionRate(10)
    rate.admit("e", 0.0, "acme", 1000)
    admitted = [rate.admit("e", 1000.0, "acme", 1000) for _ in range(20)].count(Admission.ADMITTED)
    assert admitted == 10


def test_one_container_does_not_use_up_anothers_rate():
    rate = QuestionRate(1)
    rate.admit("noisy", 0.0, "acme", 1000)
    assert rate.admit("noisy", 0.0, "acme", 1000) is Admission.LIMITED_FIRST
    assert rate.admit("quiet", 0.0, "acme", 1000) is Admission.ADMITTED


def test_an_endpoint_that_is_gone_takes_no_room():
    rate = QuestionRate(1)
    rate.admit("e", 0.0, "acme", 1000)
    rate.tells("e", 0.0)
    rate.forget("e")
    rate.forget("e")
    assert len(rate) == 0


def test_all_containers_of_a_tenant_together_have_a_rate_too():
    rate = QuestionRate(10)
    admitted = [rate.admit(f"e{number}", 0.0, "acme", 3) for number in range(5)]
    assert admitted == [Admission.ADMITTED] * 3 + [Admission.TENANT_LIMITED_FIRST, Admission.TENANT_LIMITED]
    assert rate.admit("other", 0.0, "beta", 3) is Admission.ADMITTED
    assert rate.admit("e9", 0.5, "acme", 3) is Admission.ADMITTED


def test_a_container_over_its_own_rate_does_not_use_up_its_tenants():
    rate = QuestionRate(1)
    for _ in range(100):
        rate.admit("noisy", 0.0, "acme", 3)
    assert [rate.admit(f"e{number}", 0.0, "acme", 3) for number in range(2)] == [Admission.ADMITTED] * 2


def test_a_new_policys_rate_holds_at_once():
    rate = QuestionRate(1000)
    assert rate.admit("e", 0.0, "acme", 100) is Admission.ADMITTED
    assert [rate.admit("e", 0.0, "acme", 2) for _ in range(3)][-1] is Admission.TENANT_LIMITED_FIRST


def test_who_is_over_a_rate_is_told_so_as_often_as_he_may_ask_and_no_oftener():
    rate = QuestionRate(3)
    assert [rate.tells("e", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert rate.tells("other", 0.0)
    assert rate.tells("e", 0.4)
    assert not rate.tells("e", 0.4)
    assert rate.admit("e", 0.4, "acme", 1000) is Admission.ADMITTED  # what was told took nothing from it


def test_what_a_tenant_has_used_of_its_rate_is_told_until_it_has_flowed_back():
    rate = QuestionRate(10)
    for _ in range(3):
        rate.admit("e", 0.0, "acme", 6)
    rate.admit("o", 0.0, "other", 100)
    assert rate.used(0.0) == {"acme": (3, 6), "other": (1, 100)}
    assert rate.used(0.25) == {"acme": (1, 6)}
    assert rate.used(0.0) == {"acme": (3, 6), "other": (1, 100)}, "to look changes nothing"

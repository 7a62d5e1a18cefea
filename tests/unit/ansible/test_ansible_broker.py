"""A vault keeps opening: whatever a run changes of its passphrase, and wherever that run is cut off."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from tasks import COLLECTION, evaluated, flat, named, read

PREFLIGHT = "roles/broker/tasks/preflight.yml"
CREDENTIAL = "roles/broker/tasks/credential.yml"
CHANGE = "roles/broker/tasks/change.yml"
TRIED = "roles/broker/tasks/tried.yml"
REMOVE = "roles/broker/tasks/remove.yml"
VARIABLES = read("roles/broker/vars/main.yml")
LOOKED = named(PREFLIGHT, "Look at the vault and what opens it")["loop"]
ELSEWHERE = "postgresql://vault@db.example.org/vault"


def found(*there: str) -> dict[str, Any]:
    """What the preflight finds where these of its variables name a file that is there."""
    names = {f"{{{{ {name} }}}}" for name in there}
    return {"results": [{"stat": {"exists": path in names}} for path in LOOKED]}


def has_vault(vault: dict[str, str | None], *there: str, database: bool = False) -> bool:
    looked = found(*there)
    looked["results"][0]["stat"]["exists"] = database
    answer: bool = evaluated(VARIABLES["broker_has_vault"], broker_found=looked, broker_vault=vault)
    return answer


def test_a_vault_is_where_its_settings_say() -> None:
    assert has_vault({}, "broker_program", database=True)
    assert has_vault({"url": ELSEWHERE}, "broker_program")
    assert not has_vault({}, "broker_program")
    assert not has_vault({"url": None}, "broker_program")
    assert not has_vault({"url": ELSEWHERE})  # a run that was cut off before anything could open it


@pytest.mark.parametrize(
    ("state", "change", "vault", "passes"),
    [
        ("other", False, True, False),
        ("other", True, True, True),
        ("other", False, False, True),
        ("same", False, True, True),
        ("none", False, True, True),
    ],
)
def test_another_passphrase_than_that_of_any_vault_is_refused(
    *, state: str, change: bool, vault: bool, passes: bool
) -> None:
    check = named(PREFLIGHT, "is the host's, or is to be changed")["ansible.builtin.assert"]["that"]
    given = {"broker_credential_state": state, "broker_vault_passphrase_change": change}
    assert evaluated(check, broker_has_vault=vault, **given) is passes


def test_a_vault_that_is_elsewhere_is_given_the_passphrase_before_the_credential_is() -> None:
    condition = named(CREDENTIAL, "Give the open vault")["when"]
    assert evaluated(condition, broker_credential_state="other", broker_has_vault=True)
    assert not evaluated(condition, broker_credential_state="none", broker_has_vault=True)
    assert "broker_found" not in condition


def compared(now: str, *there: str) -> str:
    task = named(PREFLIGHT, "Compare the passphrases")
    return str(
        evaluated(
            task["ansible.builtin.set_fact"]["broker_credential_state"],
            broker_found=found(*there),
            broker_vault_passphrase="the wanted passphrase",
            broker_now=[now, ""],
            broker_credential_found={"rc": 0},
        )
    )


def test_a_credential_that_was_only_tried_is_not_the_hosts() -> None:
    assert compared("the wanted passphrase", "broker_encrypted") == "same"
    assert compared("the wanted passphrase", "broker_encrypted", "broker_former") == "other"
    assert compared("another passphrase", "broker_encrypted") == "other"
    assert compared("") == "none"


def position(words: str) -> int:
    (block,) = [task for task in read(CREDENTIAL) if "block" in task]
    (at,) = [at for at, task in enumerate(block["block"]) if words in task["name"]]
    return at


def test_both_kinds_of_credential_are_there_before_the_vault_is_asked_and_in_place_after() -> None:
    order = [
        position(words)
        for words in (
            "Have systemd encrypt",
            "for root alone",
            "Give the open vault",
            "Put the",
            "vault opens",
        )
    ]
    assert order == sorted(order)
    written = named(CREDENTIAL, "Write the passphrase")["ansible.builtin.copy"]
    assert written["dest"] == "{{ broker_plain_draft }}"
    for plain, wanted in ((True, "plain.new"), (False, "sealed.new")):
        (source,) = [
            evaluated(word, broker_is_plain=plain, broker_plain_draft="plain.new", broker_draft="sealed.new")
            for word in named(CREDENTIAL, "Put the credential")["ansible.builtin.command"]["argv"]
            if "draft" in word
        ]
        assert source == wanted


@pytest.mark.parametrize(
    ("asked", "rekeyed", "there", "passes"),
    [
        ({"rc": 0}, {"rc": 0}, True, True),
        ({"rc": 0}, {"rc": 1}, True, False),  # it refuses, or does not answer
        ({"rc": 3}, {}, True, False),  # it is locked
        ({"rc": 1}, {}, True, True),  # nobody answers: the new one is tried
        ({"rc": 1}, {}, False, False),
        ({}, {}, True, True),  # in check mode
    ],
)
def test_a_vault_that_does_not_take_it_ends_the_run(
    *, asked: dict[str, int], rekeyed: dict[str, int], there: bool, passes: bool
) -> None:
    task = named(CHANGE, "has it, or may have it")
    (block,) = [task for task in read(CREDENTIAL) if "block" in task]
    silent = evaluated(block["vars"]["broker_silent"], broker_asked=asked)
    assert silent is (asked.get("rc") == 1)
    values = {"broker_asked": asked, "broker_rekeyed": rekeyed, "broker_silent": silent}
    looked = found("broker_encrypted") if there else found()
    check = task["ansible.builtin.assert"]["that"]
    assert evaluated(check, broker_found=looked, broker_is_plain=False, **values) is passes


def test_what_the_program_says_of_a_refusal_is_told() -> None:
    change = named(CHANGE, "Give it its new passphrase")
    assert (change["failed_when"], change["no_log"]) == (False, True)
    said = named(CHANGE, "has it, or may have it")["ansible.builtin.assert"]["fail_msg"]
    refused = {"rc": 1, "stderr": "audit-unavailable: the disk is full\n"}
    assert "the disk is full;" in evaluated(
        said, broker_rekeyed=refused, broker_asked={"rc": 0, "stderr": ""}
    )
    assert "the vault is locked;" in evaluated(said, broker_rekeyed={}, broker_asked={"rc": 3, "stderr": ""})


def test_a_credential_that_is_tried_leaves_the_one_before_until_the_vault_is_open() -> None:
    kept = named(CHANGE, "Keep the credential that is there")
    assert kept["ansible.builtin.copy"]["dest"] == "{{ broker_former }}"
    assert kept["ansible.builtin.copy"]["force"] is False  # what a run before has kept is the older one
    assert kept["when"] == "broker_silent"
    back = named(TRIED, "Put the one before back")
    assert back["ansible.builtin.command"]["argv"][2:] == ["{{ broker_former }}", "{{ broker_place }}"]
    names = [task["name"] for task in read(TRIED)]
    assert names.index(back["name"]) < names.index("See that it is")
    for status, returns in ((0, False), (1, True), (3, True)):
        assert evaluated(back["when"], broker_tried={"rc": status}) is returns
        check = named(TRIED, "See that it is")["ansible.builtin.assert"]["that"]
        assert evaluated(check, broker_tried={"rc": status}) is not returns
    assert named(CREDENTIAL, "vault opens with it")["when"] == "broker_silent"
    assert "broker_former" in named(CREDENTIAL, "no other copy")["loop"]


def test_a_look_that_is_repeated_ends_before_ansible_takes_it_for_a_failure() -> None:
    """After the last retry a task has failed, whatever `failed_when` says: no assertion would come to its words."""
    files = [file.relative_to(COLLECTION) for file in COLLECTION.glob("roles/broker/tasks/*.yml")]
    tasks = [task for file in files for task in flat(read(str(file)))]
    repeated = [task for task in tasks if "until" in task and task.get("failed_when") is False]
    assert len(repeated) == 3
    for task in repeated:
        values = {task["register"]: {"rc": 1, "attempts": 60}, "broker_open_within": 60, "broker_vault": {}}
        assert task["retries"] == "{{ broker_open_within }}"
        assert evaluated(task["until"], **values), task["name"]


def test_a_vault_that_waits_for_its_operator_is_not_waited_for() -> None:
    until = named("roles/broker/tasks/vault.yml", "Ask whether")["until"]
    locked = {"broker_status": {"rc": 3, "attempts": 1}, "broker_open_within": 60}
    assert evaluated(until, broker_vault={"unlock": "passphrase"}, **locked)
    assert not evaluated(until, broker_vault={"unlock": "passphrase_file"}, **locked)


@pytest.mark.parametrize("word", [False, True])
def test_removal_leaves_the_hosts_key_and_says_so_unless_told(word: bool) -> None:  # noqa: FBT001 - a case
    key = VARIABLES["broker_host_key"]
    made = {"content": b64encode(f"{key}\n/etc/credstore\n".encode()).decode()}
    given = {"broker_host_key": key, "broker_remove_host_key": word}
    taken = named(REMOVE, "holds nothing now")
    was = evaluated(taken["vars"]["broker_was_not_there"], broker_made_read=made)
    goes = evaluated(taken["loop"], broker_was_not_there=was, **given)
    assert goes == ([key] if word else []) + ["/etc/credstore"]
    assert taken["when"] == "broker_left.matched == 0"
    for task in flat(read(REMOVE)):
        assert task is taken or "broker_host_key" not in repr(task.get("ansible.builtin.file")), task["name"]
    there, stays = named(REMOVE, "key stays")["when"]
    assert evaluated(there, broker_made_read=made, **given)
    assert not evaluated(there, broker_made_read={}, **given)
    assert evaluated(stays, broker_left={"matched": 0}, **given) is not word
    assert evaluated(stays, broker_left={"matched": 1}, **given)


def test_removal_leaves_no_copy_of_the_passphrase() -> None:
    for name in ("broker_draft", "broker_plain_draft", "broker_former"):
        assert f"{{{{ {name} }}}}" in named(REMOVE, "Take the passphrase away")["loop"]

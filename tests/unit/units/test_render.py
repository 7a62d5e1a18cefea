"""appliance.units.render: units of systemd from the table of processes, as systemd itself reads them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.processes import processes
from appliance.settings import SETTINGS_VARIABLE, Settings, VaultSettings
from appliance.units.render import DOCKER, UNITS, Installed, command, files, quoted
from appliance.units.sandbox import LEFT_ON_NETD
from netns.launch import prepare

SETTINGS = Settings(workers=3)
INSTALLED = Installed(Path("/opt/egress/bin/python"))
TABLE = {process.name: process for process in processes(SETTINGS)}


def rendered(settings: Settings = SETTINGS, installed: Installed = INSTALLED) -> dict[str, str]:
    return {str(file.path): file.text for file in files(settings, installed)}


def unit(name: str, settings: Settings = SETTINGS) -> dict[str, list[str]]:
    """Directives of a unit; a key that stands more than once has more than one value."""
    found: dict[str, list[str]] = {}
    for line in rendered(settings)[str(UNITS / name)].splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def service(name: str) -> dict[str, list[str]]:
    return unit(f"egress-{name}.service")


def test_each_process_of_the_table_has_a_unit_and_no_unit_has_another() -> None:
    names = {path.removeprefix(f"{UNITS}/") for path in rendered() if path.endswith(".service")}
    assert names == {f"egress-{name}.service" for name in (*TABLE, "directories")}
    assert unit("egress.target")["Wants"] == [" ".join(f"egress-{name}.service" for name in TABLE)]


def test_a_setting_that_changes_the_table_changes_the_units() -> None:
    without = rendered(Settings(workers=1, fallback=False, instance=SETTINGS.instance))
    gone = {f"{UNITS}/egress-{name}.service" for name in ("gateway-1", "gateway-2", "squid")}
    assert set(rendered()) - set(without) == gone
    other = rendered(Settings(instance="second"))
    assert not set(other) & set(rendered()), "two instances share no file"


@pytest.mark.parametrize("name", list(TABLE))
def test_a_unit_starts_what_the_supervisor_starts(name: str) -> None:
    """The launcher finds uid, sockets, capabilities and directories in the table, as under `egress up`."""
    found, process = service(name), TABLE[name]
    (start,) = found["ExecStart"]
    sets_uid = "!" if process.uid else ""
    assert start == f"{sets_uid}/opt/egress/bin/python -I -m netns.launch --in-place {name}"
    assert prepare(SETTINGS, name, {}).process == process
    assert found.get("User") == found.get("Group") == ([str(process.uid)] if process.uid else None)


@pytest.mark.parametrize("name", list(TABLE))
def test_a_process_is_put_where_the_table_says(name: str) -> None:
    found, process = service(name), TABLE[name]
    inside = ["/run/netns/egress"] if process.in_gateway_namespace else None
    assert found.get("NetworkNamespacePath") == inside
    assert found.get("PrivateNetwork") == (["yes"] if process.without_network else None)


@pytest.mark.parametrize("name", list(TABLE))
def test_a_process_says_when_it_is_ready_and_is_ended_when_it_is_silent(name: str) -> None:
    found = service(name)
    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"], "no child of it speaks in its name"
    assert int(found["WatchdogSec"][0]) > 5, "a worker may read a large policy for 2 s"
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"], "without them nothing passes: never given up"


def test_who_lives_in_the_namespace_starts_when_netd_has_made_it() -> None:
    for name, process in TABLE.items():
        after = service(name)["After"][0].split()
        assert "egress-directories.service" in after
        before = {"egress-netd.service", "egress-broker.service"} <= set(after)
        assert before == process.in_gateway_namespace


def test_netd_comes_after_what_empties_the_hosts_tables() -> None:
    assert {"nftables.service", "firewalld.service"} < set(service("netd")["After"][0].split())


def test_docker_starts_when_all_of_them_enforce() -> None:
    """So after a boot no container starts before; one that starts later waits for the driver."""
    drop_in = rendered()[str(UNITS / f"{DOCKER}.d" / "egress.conf")]
    assert "[Unit]\nWants=egress.target\nAfter=egress.target\n" in drop_in
    assert unit("egress.target")["Before"] == [DOCKER]
    for name in TABLE:
        assert service(name)["Before"] == [DOCKER]
        assert service(name)["PartOf"] == ["egress.target"]
        assert "docker" not in " ".join(service(name)["After"])


def test_users_are_those_of_the_settings() -> None:
    lines = rendered()["sysusers.d/egress.conf"].splitlines()
    uids = SETTINGS.uids
    assert lines[0] == f"g egress {uids.group}"
    assert [tuple(line.split()[:3]) for line in lines[1:]] == [
        ("u", "egress-broker", str(uids.broker)), ("u", "egress-resolver", str(uids.resolver)),
        ("u", "egress-gateway", str(uids.gateway)), ("u", "egress-squid", str(uids.squid)),
    ]  # fmt: skip
    assert ":" not in "".join(lines)  # it ends a field of passwd(5), and sysusers makes no such user


def test_systemd_makes_the_users_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "egress.conf"
    file.write_text(rendered()["sysusers.d/egress.conf"], encoding="utf-8")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path / 'root'}", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for process in TABLE.values():
        if process.uid:
            assert f"with UID {process.uid} and GID {process.uid}." in done.stdout + done.stderr


def test_the_settings_file_goes_with_every_start() -> None:
    file = Path("/etc/egress/100 % $HOME.yaml")
    for path, text in rendered(installed=Installed(INSTALLED.python, file)).items():
        if path.endswith(".service"):
            assert f'Environment="{SETTINGS_VARIABLE}=/etc/egress/100 %% $HOME.yaml"\n' in text
    assert SETTINGS_VARIABLE not in "".join(rendered().values())


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/opt/egress", "/opt/egress"),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("50%", "50%%"),
        ("$HOME", "$HOME"),
        ("a\\b", "a\\\\b"),
        ("a;b", '"a;b"'),
    ],
)
def test_a_word_is_one_word_whatever_is_in_it(word: str, expected: str) -> None:
    assert quoted(word) == expected
    assert command(["x", word]) == f"x {expected}".replace("$", "$$")


def test_systemd_reads_them_without_a_complaint(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to("/bin/true")
    for path, text in rendered(installed=Installed(python)).items():
        place = tmp_path / "etc" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    units = [p for p in (tmp_path / "etc" / UNITS).iterdir() if p.is_file()]
    done = analyze("verify", "--man=no", *map(str, units))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


EXPOSURE = {"broker": 1.1, "gateway-0": 1.9, "squid": 1.9, "resolver": 1.9, "netd": 5.0}
"""What systemd 252 makes of each."""


@pytest.mark.parametrize("name", list(EXPOSURE))
def test_no_unit_is_more_exposed_than_was_measured(tmp_path: Path, name: str) -> None:
    done = security(tmp_path, name)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE[name]


def test_every_point_that_is_left_on_netd_has_its_reason_and_no_other_has_one(tmp_path: Path) -> None:
    lines = json.loads(security(tmp_path, "netd", "--json=short").stdout)
    counted = {line["name"].removesuffix("=") for line in lines if line["exposure"]}
    assert counted - set(LEFT_ON_NETD) == set()
    assert set(LEFT_ON_NETD) - counted == {"PrivateIPC"}, "systemd counts no point for it"


def security(folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    file = folder / f"egress-{name}.service"
    file.write_text(rendered()[str(UNITS / file.name)], encoding="utf-8")
    return analyze("security", "--offline=true", "--no-pager", *options, str(file))


GIVEN = Path("/run/credentials/egress-broker.service/vault-words")


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        (INSTALLED, "LoadCredentialEncrypted=vault-words:/etc/credstore.encrypted/vault-words"),
        (replace(INSTALLED, plain_credential=True), "LoadCredential=vault-words:/etc/credstore/vault-words"),
    ],
)
def test_the_vaults_passphrase_is_given_to_the_broker_alone(installed: Installed, line: str) -> None:
    texts = rendered(
        Settings(vault=VaultSettings(unlock="passphrase_file", passphrase_file=GIVEN)), installed
    )
    assert [path for path, text in texts.items() if "LoadCredential" in text] == [
        str(UNITS / "egress-broker.service")
    ]
    assert f"\n{line}\n" in texts[str(UNITS / "egress-broker.service")]


@pytest.mark.parametrize(
    "vault",
    [VaultSettings(), VaultSettings(unlock="passphrase_file", passphrase_file=Path("/etc/egress/words"))],
)
def test_systemd_gives_nothing_where_the_settings_do_not_say_so(vault: VaultSettings) -> None:
    assert "LoadCredential" not in "".join(rendered(Settings(vault=vault)).values())


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )

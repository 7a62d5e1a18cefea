"""A real engine: each hardening flag missing in turn is refused by name, all present runs (issue 2)."""

from __future__ import annotations

import pytest
from own_engine import HARDENED, IMAGE, OwnEngine, wait_for

pytestmark = pytest.mark.system

# What to leave out of the hardened profile (with its value), and what the refusal names.
MISSING = [
    (("--user", "1000:1000"), "--user 1000:1000"),
    (("--cap-drop", "ALL"), "--cap-drop ALL"),
    (("--security-opt", "no-new-privileges"), "--security-opt no-new-privileges"),
    (("--read-only",), "--read-only"),
    (("--pids-limit", "256"), "--pids-limit"),
    (("--memory", "512m"), "--memory"),
]
ADDED = [
    (("--user", "1000"), "--user 1000:1000"),
    (("--privileged",), "--privileged"),
    (("--cap-add", "NET_ADMIN"), "--cap-add"),
    (("--security-opt", "seccomp=unconfined"), "--security-opt seccomp=unconfined"),
    (("--security-opt", "systempaths=unconfined"), "systempaths=unconfined"),
    (("--pid", "host"), "--pid host"),
    (("--ipc", "host"), "--ipc host"),
    (("--uts", "host"), "--uts host"),
    (("--userns", "host"), "--userns host"),
    (("--cgroupns", "host"), "--cgroupns host"),
    (("--device", "/dev/null"), "--device"),
    (("--volume", "/var/run/docker.sock:/s"), "--volume /var/run/docker.sock"),
    (("--volume", "/etc:/x:ro"), "--volume /etc"),
    (("--publish", "8080:80"), "--publish"),
    (("--sysctl", "net.ipv4.conf.all.route_localnet=0"), "--sysctl"),
    (("--group-add", "0"), "--group-add 0"),
    (("--log-driver", "syslog"), "--log-driver syslog"),
    (("--memory-swap", "-1"), "--memory-swap -1"),
    (("--cgroup-parent", "/"), "--cgroup-parent"),
]


def without(*words: str) -> tuple[str, ...]:
    text, gone = " ".join(HARDENED), " ".join(words)
    assert gone in text
    return tuple(text.replace(gone, "").split())


def create(engine: OwnEngine, *words: str) -> str:
    done = engine.docker("create", "--network", "acme", *words, IMAGE, "true", check=False)
    assert done.returncode != 0, f"admitted: {words}"
    return done.stderr


@pytest.mark.parametrize(("words", "said"), MISSING)
def test_a_missing_flag_is_named(engine: OwnEngine, words: tuple[str, ...], said: str) -> None:
    error = create(engine, *without(*words))
    assert f"egress: container on network acme needs {said}" in error
    assert error.count("--") == said.count("--") + 1, "it names this flag, and `egress run --tenant`"


@pytest.mark.parametrize(("words", "said"), ADDED)
def test_a_flag_that_opens_something_is_named(engine: OwnEngine, words: tuple[str, ...], said: str) -> None:
    assert said in create(engine, *HARDENED, *words)


def test_all_flags_together_run(engine: OwnEngine) -> None:
    work = engine.directory / "state/tenants/acme"
    done = engine.run("--volume", f"{work}:/work", "--volume", "acme_data:/data", IMAGE, "id")
    assert done.stdout == "uid=1000 gid=1000 groups=1000\n"


def test_what_an_admitted_container_finds_itself_to_be(engine: OwnEngine) -> None:
    """No power and none to be had, a root that cannot be written, and no place of another tenant."""
    tenants = engine.directory / "state/tenants"
    secret = tenants / "other/secret"
    secret.mkdir(parents=True, exist_ok=True)
    script = (
        "grep -E '^(Cap...|NoNewPrivs|Seccomp):' /proc/self/status\n"
        "for place in / /bin /etc /usr /var /lib /proc/sys/kernel /sys; do\n"
        "  (: > $place/written) 2>/dev/null && echo WROTE $place\n"
        "done\n"
        "cat /proc/self/mountinfo"
    )
    done = engine.run("--volume", f"{tenants / 'acme'}:/work", IMAGE, "sh", "-c", script)
    held = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert {held.pop("NoNewPrivs"), held.pop("Seccomp")} == {"1", "2"}
    assert set(held) == {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
    assert set(held.values()) == {"0" * 16}
    assert "WROTE" not in done.stdout
    mounts = [line.split() for line in done.stdout.splitlines() if " - " in line]
    own = [mount for mount in mounts if str(tenants) in mount[3]]
    assert [mount[4] for mount in own] == ["/work"], "the control: what is mounted can be seen"
    assert "other" not in " ".join(mount[3] for mount in mounts)
    (root,) = [mount for mount in mounts if mount[4] == "/"]
    assert "ro" in root[5].split(",")


def test_a_link_out_of_the_tenants_directory(engine: OwnEngine) -> None:
    link = engine.directory / "state/tenants/acme/out"
    link.symlink_to("/etc")
    try:
        assert "only directories" in create(engine, *HARDENED, "--volume", f"{link}:/x")
    finally:
        link.unlink()


def test_a_volume_with_options_is_a_mount_in_disguise(engine: OwnEngine) -> None:
    engine.docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", "acme_etc")
    assert "driver options" in create(engine, *HARDENED, "--volume", "acme_etc:/x")


def test_other_networks_are_none_of_our_business(engine: OwnEngine) -> None:
    assert engine.docker("run", "--rm", "--network", "none", IMAGE, "id", "-u").stdout == "0\n"


def test_nobody_joins_and_nobody_connects(engine: OwnEngine) -> None:
    engine.docker("run", "-d", "--name", "ours", "--network", "acme", *HARDENED, IMAGE, "sleep", "60")
    for words in (("--network", "container:ours"), ("--pid", "container:ours"), ("--volumes-from", "ours")):
        done = engine.docker("create", *words, IMAGE, "true", check=False)
        assert "shares nothing" in done.stderr
    engine.docker("network", "create", "web")
    engine.docker("run", "-d", "--name", "theirs", "--network", "web", IMAGE, "sleep", "60")
    assert (
        "start the container with --network acme"
        in engine.docker("network", "connect", "acme", "theirs", check=False).stderr
    )
    assert "may be its only" in engine.docker("network", "connect", "web", "ours", check=False).stderr
    for words in (("--privileged",), ("--user", "root"), ("--user", "1000")):
        assert (
            "egress: exec on network acme" in engine.docker("exec", *words, "ours", "id", check=False).stderr
        )
    assert engine.docker("exec", "ours", "id", "-u").stdout == "1000\n"
    assert "--memory-swap -1" in engine.docker("update", "--memory-swap", "-1", "ours", check=False).stderr
    engine.docker("update", "--memory", "100m", "--memory-swap", "100m", "ours")
    engine.docker("rm", "-f", "ours", "theirs")
    engine.docker("network", "rm", "web")


def test_no_build_on_our_network(engine: OwnEngine) -> None:
    (engine.directory / "build").mkdir(exist_ok=True)
    (engine.directory / "build/Dockerfile").write_text(f"FROM {IMAGE}\nRUN true\n")
    done = engine.docker("build", "--network", "acme", str(engine.directory / "build"), check=False)
    assert done.returncode != 0
    assert "egress: build on network acme refused" in done.stderr


def test_without_admission_nothing_starts(engine: OwnEngine) -> None:
    """Fail closed: with the plugin off a container cannot be wired, whatever its flags."""
    engine.admission(on=False)
    try:
        wanted = "the admission plugin 'egress' is not on in dockerd"
        # A proof that is seconds old is good enough; after that, no.
        wait_for("the proof to age", lambda: wanted in engine.run(IMAGE, "true", check=False).stderr, 15)
        done = engine.docker("run", "--rm", "--network", "acme", "--privileged", IMAGE, "true", check=False)
        assert done.returncode != 0
        assert wanted in done.stderr
        assert "authorization-plugins" in done.stderr
        new = engine.docker("network", "create", "-d", "egress", "--opt", "tenant=acme", "more", check=False)
        assert wanted in new.stderr
        wait_for("the record of it", lambda: _of_switch(engine)[-1:] == ["admission-off"], 10)
    finally:
        engine.admission(on=True)
    wait_for("the record of its end", lambda: _of_switch(engine)[-1:] == ["admission-on"], 10)


def _of_switch(engine: OwnEngine) -> list[str]:
    return [r["event"] for r in engine.records() if str(r.get("event")).startswith("admission-")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "add --opt tenant=NAME"),
        (("--opt", "tenant=zeta"), "egress tenant add zeta"),
        (("--opt", "tenant=acme", "--opt", "mtu=1"), "unknown network option 'mtu'"),
        (("--opt", "tenant=acme", "--internal"), "--internal"),
        (("--opt", "tenant=acme", "--subnet", "172.29.0.0/28"), "overlaps"),
        (("--opt", "tenant=acme", "--subnet", "8.8.8.0/24"), "not private"),
    ],
)
def test_networks_that_are_refused(engine: OwnEngine, words: tuple[str, ...], said: str) -> None:
    done = engine.docker("network", "create", "-d", "egress", *words, "wrong", check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "wrong" not in engine.docker("network", "ls", "--format", "{{.Name}}").stdout.split()

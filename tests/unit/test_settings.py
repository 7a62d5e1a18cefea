"""Settings: an absent file is complete, every fault has a line, and no value is half usable."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest

from appliance.settings import SETTINGS_VARIABLE, Settings, SettingsError, Uids, load

JWT = "callers: {{jwt: {{issuer: 'https://i.example', audience: egress, tenant: acme, {}}}}}\n"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "egress.yaml"
    file.write_text(text)
    return file


def test_defaults_are_complete() -> None:
    settings = Settings()
    assert settings.namespace == "egress"
    assert settings.tenants_dir == Path("/etc/egress/tenants")
    assert settings.policies_dir == Path("/etc/egress/policies")
    assert settings.operator_file == Path("/etc/egress/operator.yaml")
    assert settings.plugin_socket == Path("/run/docker/plugins/egress.sock")
    assert settings.control_socket("gateway-0") == Path("/run/egress/gateway-0.sock")
    assert settings.audit_dir == Path("/var/log/egress/audit")
    assert settings.ca_dir == Path("/var/lib/egress/ca")
    assert settings.vault_url == "sqlite:////var/lib/egress/vault/broker.db"
    assert settings.vault_key_file == Path("/var/lib/egress/vault/kek")
    assert settings.uplink_interface == "uplink"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        instance: egresslab
        workers: 3
        uplink: {address: 198.51.100.2/30, peer: 198.51.100.1, peer_namespace: internet}
        resolver: {servers: [{address: 192.0.2.53}]}
        """,
    )
    settings = load(file)
    assert settings.instance == settings.namespace == "egresslab"
    assert settings.workers == 3
    assert settings.plugin_socket.name == "egresslab.sock"
    assert settings.resolver.servers[0].address == IPv4Address("192.0.2.53")
    assert settings.resolver.servers[0].port == 53


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing\n")) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instnce: x\n", "egress.yaml:1:1: unknown key 'instnce'; did you mean 'instance'?"),
        ("instance: Egress\n", "egress.yaml:1:1: instance: Egress does not fit; write one that fits"),
        ("instance: udp\n", "is a word of nft or Docker; choose another name"),
        ("instance: a-name-that-is-too-long\n", "egress.yaml:1:1: instance"),
        ("workers: 0\n", "egress.yaml:1:1: workers: 0 is too small; write 1 or more"),
        ("a: 1\nworkers: 17\n", "egress.yaml:2:1: workers: 17 is too large; write 16 or less"),
        ("workers: many\n", "egress.yaml:1:1: workers: many is no whole number"),
        ("uids: {gateway: 0}\n", "egress.yaml:1:8: uids.gateway"),
        ("uids: {gateway: 5, broker: 5}\n", "uids: two uids are equal; each process needs a uid of its own"),
        ("uplink: {address: 192.0.2.2/30, peer: 192.0.2.9}\n", "it must be another address of 192.0.2.0/30"),
        ("uplink: {address: 192.0.2.2/30, peer: 192.0.2.2}\n", "must be another address"),
        ("uplink: {peer_namespace: ../host}\n", "uplink.peer_namespace"),
        ("uplink: {proxy: {address: proxy.corp, port: 3128}}\n", "uplink.proxy.address: proxy.corp is no"),
        ("uplink: {proxy: {address: 10.0.0.8}}\n", "egress.yaml:1:10: uplink.proxy.port"),
        ("uplink: {proxy: {address: 127.0.0.1, port: 3128}}\n", "127.0.0.1 is loopback"),
        (
            "uplink: {proxy: {address: 169.254.169.254, port: 80}}\n",
            "is link-local (RFC 3927), which is never opened",
        ),
        ("uplink: {chained: true, proxy: {address: 10.0.0.8, port: 1}}\n", "leave one of them away"),
        ("fallback: false\nuplink: {chained: true}\n", "uplink.chained goes through the fallback's Squid"),
        ("uplink: {proxy: {address: 198.18.83.2, port: 3128}}\n", "198.18.83.2 is the gateway itself"),
        (
            "resolver: {servers: [{address: dns.example.com}]}\n",
            "resolver.servers[0].address: dns.example.com is no",
        ),
        ("resolver: {queries_per_second: 0}\n", "resolver.queries_per_second"),
        ("workers: 1\nworkers: 2\n", "egress.yaml:2:1: found duplicate key"),
        ("[]\n", "egress.yaml:1:1: the document must hold keys and values"),
        (
            "config_dir: etc/rel\n",
            "config_dir: 'etc/rel' is no absolute path; write it from the root, like /etc/egress",
        ),
        ("docker: {daemon_json: daemon.json}\n", "docker.daemon_json: 'daemon.json' is no absolute path"),
        ('run_dir: "/run/\\0"\n', "is no absolute path"),
        (
            "state_dir: /var/lib\n",
            "egress.yaml:1:1: state_dir: /var/lib is a directory that others use; write one for this alone",
        ),
        ("log_dir: /var/log/\n", "log_dir: /var/log is a directory that others use"),
        ("run_dir: /run\n", "run_dir: /run is a directory that others use"),
        ("config_dir: /etc\n", "config_dir: /etc is a directory that others use"),
        ("state_dir: /srv/x\nlog_dir: /srv/y/../x\n", "are one; write a directory for each"),
        ("vault: {unlock: always}\n", "vault.unlock"),
        ("vault: {unlock: passphrase_file}\n", "belong together; write both"),
        ("vault: {passphrase_file: /run/p}\n", "belong together; write both"),
        ("vault: {unlock: passphrase, key_file: /run/k}\n", "leave it away"),
        ("vault: {key_file: kek}\n", "vault.key_file: 'kek' is no absolute path"),
        ("workload_addresses: [5]\n", "workload_addresses[0]: 5 is no text"),
        ("workload_addresses: ['10.0.0.1/8']\n", "workload_addresses[0]: 10.0.0.1/8 has host bits set"),
        ("workload_addresses: ['::/0']\n", "workload_addresses[0]: '::/0' holds IPv4 addresses in IPv6 form"),
        ("workload_addresses: 10.0.0.0/8\n", "workload_addresses"),
        ("callers: {trusted: {tenant: acme, uids: []}}\n", "callers.trusted.uids"),
        ("callers: {trusted: {tenant: ACME, uids: [1000]}}\n", "callers.trusted.tenant"),
        ("callers: {trusted: {tenant: acme, uids: [64101]}}\n", "none of `uids`; name the callers' own"),
        ("callers: {group: 64103}\n", "none of `uids`; name the callers' own"),
        (JWT.format("algorithms: [none], jwks_file: /k"), "callers.jwt.algorithms[0]"),
        (JWT.format("algorithms: [], jwks_file: /k"), "callers.jwt.algorithms"),
        (JWT.format("jwks_file: /k"), "callers.jwt.algorithms"),
        (JWT.format("algorithms: [ES256]"), "write one of jwks_url, jwks_file, public_key_file"),
        (JWT.format("algorithms: [ES256], jwks_file: /k, public_key_file: /p"), "stand in one place"),
        (JWT.format("algorithms: [RS256, HS256], public_key_file: /p"), "belong to secret_file"),
        (
            JWT.format("algorithms: [RS256], jwks_url: 'https://i.example/keys', jwks_file: /k"),
            "in one place",
        ),
        (JWT.format("algorithms: [RS256], jwks_url: 'http://i.example/keys'"), "write https://HOST/PATH"),
        (JWT.format("algorithms: [HS256], jwks_url: 'https://i.example/keys'"), "belong to secret_file"),
        (JWT.format("algorithms: [RS256], secret_file: /s"), "belong to secret_file"),
    ],
)
def test_every_fault_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, text))
    assert message in str(refused.value)


def test_000_07_whence_workloads_come_is_said_in_ipv4_and_ipv6(tmp_path: Path) -> None:
    assert Settings().workload_addresses is None
    assert load(written(tmp_path, "workload_addresses: []\n")).workload_addresses == ()
    settings = load(written(tmp_path, "workload_addresses: [172.18.0.0/16, '2001:db8::/32']\n"))
    assert settings.workload_addresses == (IPv4Network("172.18.0.0/16"), IPv6Network("2001:db8::/32"))


CA = "enrolment: {external_ca: {url: 'https://ca.example:8443/sign', trust: /etc/egress/ca.pem%s}}"


def test_the_brokers_own_destinations_are_those_that_the_settings_name(tmp_path: Path) -> None:
    assert Settings().platform_hosts == frozenset()
    settings = load(written(tmp_path, CA % ""))
    assert settings.platform_hosts == {("ca.example", 8443)}
    assert settings.enrolment.external_ca is not None
    assert settings.enrolment.external_ca.timeout == 10.0


@pytest.mark.parametrize("timeout", ["0", "10.5", "-1", ".inf", ".nan"])
def test_000_73_an_external_ca_has_ten_seconds_at_most(tmp_path: Path, timeout: str) -> None:
    with pytest.raises(SettingsError, match="timeout"):
        load(written(tmp_path, CA % f", timeout: {timeout}"))


def test_an_external_ca_is_not_asked_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"enrolment\.external_ca\.url.*write https"):
        load(written(tmp_path, CA.replace("https", "http") % ""))


def test_002_08_002_23_by_default_nobody_is_trusted_and_no_issuer_counts(tmp_path: Path) -> None:
    assert (Settings().callers.group, Settings().callers.trusted, Settings().callers.jwt) == (
        None,
        None,
        None,
    )
    settings = load(written(tmp_path, JWT.format("algorithms: [ES256, Ed25519], jwks_file: /k")))
    assert settings.callers.jwt is not None
    assert settings.callers.jwt.algorithms == ("ES256", "Ed25519")
    assert settings.platform_hosts == frozenset()
    asked = load(
        written(tmp_path, JWT.format("algorithms: [ES256], jwks_url: 'https://I.example:8443/keys'"))
    )
    assert asked.platform_hosts == {("i.example", 8443)}
    assert settings.callers_socket == Path("/run/egress/broker-callers.sock")


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, str(written(tmp_path, "workers: 4\n")))
    assert load().workers == 4
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "absent.yaml"))
    with pytest.raises(SettingsError, match="no such settings file"):
        load()


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load(tmp_path / "absent.yaml")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 9  # type: ignore[misc] - the point


def test_uids_are_distinct_by_default() -> None:
    uids = Uids()
    assert len({uids.gateway, uids.resolver, uids.broker, uids.squid}) == 4


@pytest.mark.parametrize("address", ["10.8.0.5", "100.64.0.9", "93.184.215.90", "198.18.83.1"])
def test_a_proxy_may_be_private_or_public_or_on_this_host(tmp_path: Path, address: str) -> None:
    settings = load(written(tmp_path, f"uplink: {{proxy: {{address: {address}, port: 3128}}}}\n"))
    assert settings.uplink.proxy is not None
    assert settings.uplink.proxy.address == IPv4Address(address)
    assert Settings().uplink.proxy is None


def test_a_vault_may_be_elsewhere_and_open_otherwise(tmp_path: Path) -> None:
    text = "vault: {url: 'postgresql:///egress?host=/run/postgresql', unlock: passphrase_file, passphrase_file: /run/p}"
    settings = load(written(tmp_path, text))
    assert settings.vault_url == "postgresql:///egress?host=/run/postgresql"
    assert settings.vault.passphrase_file == Path("/run/p")
    assert load(written(tmp_path, "vault: {key_file: /run/k}\n")).vault_key_file == Path("/run/k")

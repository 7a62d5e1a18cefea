"""The lab's authoritative name server: dnsmasq, which logs every query before it answers."""

from __future__ import annotations

from tests.lab import internet

DIRECTORY = internet.STATE / "dns"
QUERY_LOG = DIRECTORY / "queries.log"
CONFIGURATION = DIRECTORY / "dnsmasq.conf"


def configuration() -> str:
    """dnsmasq.conf: answers from our table only, nothing cached, nothing read from the host."""
    return "\n".join(
        [
            "keep-in-foreground",
            "user=root",
            "no-resolv",
            "no-hosts",
            "cache-size=0",
            "local-ttl=30",
            "bind-interfaces",
            f"listen-address={internet.DNS_SERVER}",
            f"pid-file={DIRECTORY}/dnsmasq.pid",
            f"addn-hosts={DIRECTORY}/hosts",
            "log-queries=extra",
            f"log-facility={QUERY_LOG}",
            *(
                f"server=/{name}/{internet.REBIND_SERVER}#{internet.REBIND_PORT}"
                for name in (internet.REBIND_NAME, internet.HOSTILE_NAME)
            ),
            *(f"local=/{domain}/" for domain in ("com", "net", "org")),  # NXDOMAIN for what is not listed
            *(f"cname={alias},{name}" for alias, name in internet.ALIASES),
            *(f"address=/{name}/{address}" for name, address in internet.WILDCARDS),
            "",
        ]
    )


def write() -> None:
    """The configuration, the host table and an empty query log."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / "hosts").write_text("".join(f"{address} {name}\n" for name, address in internet.HOSTS))
    QUERY_LOG.touch()
    CONFIGURATION.write_text(configuration())


def command() -> tuple[str, ...]:
    """How dnsmasq is started."""
    return ("dnsmasq", f"--conf-file={CONFIGURATION}")

"""What must work: real tools, in a hardened container, get what a tenant may have.

Package servers are not everywhere where the battery runs; where a world has none, their rows are not there.
"""

from __future__ import annotations

from appliance.verify.case import Canary, Case, Image, Layer, Outcome
from appliance.verify.commands import UNSET
from appliance.verify.world import Site, World

REACHES, REFUSED = Outcome.REACHES, Outcome.REFUSED
GATEWAY_AND_SQUID = frozenset({Layer.GATEWAY, Layer.SQUID})
BIG_BYTES = 8 << 20


def rows(world: World) -> list[Case]:
    """Every tool."""
    return [*_clients(world), *_packages(world)]


def _read(world: World, site: Site, path: str | None = None, method: str | None = "GET") -> Canary:
    return Canary(f"{method} {site.name}{path or ''}", world.requests(site.name, method, path), lambda: True)


def _clients(world: World) -> list[Case]:
    www = world.targets.www
    seen = (_read(world, www, "/"),)
    shown = ("curl", "-sS", "-w", r"%{certs}\n")
    fetch = f"fetch('https://{www.name}/').then(r => r.text()).then(console.log)"
    upstream = world.targets.issuer
    return [
        Case("T1-curl", "HTTPS GET by curl, intercepted", REACHES, (*shown, f"https://{www.name}/"), seen,
             expect=("hello", "Issuer"), forbid=(upstream,) if upstream else (), layers=GATEWAY_AND_SQUID),
        Case("T1-curl-transparent", "HTTPS GET by curl past the proxy variables", REACHES,
             (*shown, "--noproxy", "*", f"https://{www.name}/"), seen, expect=("hello", "Issuer"),
             forbid=(upstream,) if upstream else ()),
        Case("T1-curl-plain", "HTTP GET by curl on port 80", REACHES, ("curl", "-sS", f"http://{www.name}/"), seen,
             expect=("hello",), layers=GATEWAY_AND_SQUID),
        Case("T1-big", "8 MiB through interception, every byte", REACHES, ("sh", "-c", f"curl -sS https://{www.name}/big.bin | wc -c"),
             (_read(world, www, "/big.bin"),), expect=(str(BIG_BYTES),), layers=GATEWAY_AND_SQUID),
        Case("T1-node-fetch", "node's fetch without any proxy variable", REACHES, (*UNSET, "node", "-e", fetch), seen,
             expect=("hello",), image=Image.NODE),
        Case("T1-static", "a static C client without any proxy variable", REACHES, (*UNSET, "static-client", www.name, "/"), seen,
             expect=("hello",), image=Image.STATIC),
    ]  # fmt: skip


def _packages(world: World) -> list[Case]:
    shelf = world.targets.packages
    if shelf is None:
        return []
    name, module = shelf.name, shelf.name.replace("-", "_")
    push = (
        f"git clone -q https://{shelf.git.name}/greeting.git /tmp/c && cd /tmp/c && date >secret && git add secret && "
        "git -c user.name=a -c user.email=a@example.com commit -qm x && git push 2>&1"
    )
    pushed = Canary(
        "git-receive-pack", world.requests(shelf.git.name, "POST", "/greeting.git/git-receive-pack"),
        lambda: world.fetch(shelf.git, "/greeting.git/git-receive-pack", "--request", "POST", "-H",
                            "Content-Type: application/x-git-receive-pack-request", "--data-binary", "0000"),
    )  # fmt: skip
    return [
        Case("T2-pip", "pip install from a package index", REACHES,
             ("sh", "-c", (f"pip install -q --index-url https://{shelf.pypi.name}/simple/ {name} && "
              f"python3 -c 'import {module}; print({module}.greet())'")),
             (_read(world, shelf.pypi),), expect=("hello",), layers=GATEWAY_AND_SQUID),
        Case("T2-npm", "npm install from a registry", REACHES,
             ("sh", "-c", (f"mkdir -p /tmp/job && cd /tmp/job && npm install --silent --registry https://{shelf.npm.name}/ {name} && "
              f"node -e 'console.log(require(\"{name}\")())'")),
             (_read(world, shelf.npm),), expect=("hello",), image=Image.NODE),
        Case("T2-git-clone", "git clone over HTTPS, which a rule allows", REACHES,
             ("sh", "-c", f"git clone -q https://{shelf.git.name}/greeting.git /tmp/clone && cat /tmp/clone/README"),
             (_read(world, shelf.git, "/greeting.git/git-upload-pack", "POST"),), expect=("hello",)),
        Case("T2-git-push", "git push to a server that would take it", REFUSED, ("sh", "-c", push), (pushed,), expect=("403",)),
    ]  # fmt: skip

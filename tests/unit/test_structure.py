"""The shape of the tree, defended: who may import whom, what is pure, and that tests mirror the packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("appliance", "netns", "squid")

LEAVES = ("appliance.names", "appliance.addresses", "appliance.settings", "appliance.yamldoc", "appliance.stepwise", "appliance.explained", "appliance.faults",
          "appliance.processes", "appliance.folders",
          "appliance.privilege", "appliance.inherited", "appliance.ipc", "appliance.json_lines", "appliance.peer", "appliance.workload", "appliance.control", "appliance.acceptor", "appliance.reactor", "appliance.readiness",
          "appliance.links", "appliance.admission_probe", "appliance.docker_root", "appliance.platform_url")  # fmt: skip

# package or module prefix -> prefixes of our own modules that it may import (itself is implied)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "appliance.names": (),
    "appliance.addresses": (),
    "appliance.stepwise": (),
    "appliance.explained": (),
    "appliance.yamldoc": ("appliance.stepwise", "appliance.explained"),
    "appliance.ipc": (),
    "appliance.json_lines": ("appliance.ipc",),
    "appliance.peer": (),
    "appliance.links": (),
    "appliance.admission_probe": (),
    "appliance.privilege": (),
    "appliance.inherited": (),
    "appliance.reserved_names": (),
    "appliance.shared_directories": (),
    "appliance.workload": (),
    "appliance.listeners": ("appliance.peer",),
    "appliance.docker_root": ("appliance.settings", "appliance.listeners"),
    "appliance.faults": ("appliance.yamldoc",),
    "appliance.settings": ("appliance.addresses", "appliance.yamldoc", "appliance.faults",
                           "appliance.reserved_names", "appliance.shared_directories", "appliance.platform_url",
                           "appliance.workload"),
    "appliance.platform_url": ("appliance.names", "appliance.http1"),
    "appliance.processes": ("appliance.settings",),
    "appliance.folders": ("appliance.settings", "appliance.processes"),
    "appliance.control": ("appliance.ipc", "appliance.json_lines", "appliance.peer"),
    "appliance.acceptor": (),
    "appliance.reactor": (),
    "appliance.readiness": ("appliance.inherited",),
    "appliance.policy": LEAVES,
    "appliance.policy.explain": (*LEAVES, "appliance.http1"),
    "appliance.limits": ("appliance.policy.limits",),
    "appliance.http1": ("appliance.names", "appliance.addresses"),
    "appliance.websocket": ("appliance.http1",),
    "appliance.audit": LEAVES,
    "appliance.endpoints": LEAVES,
    "appliance.tls": LEAVES,
    "appliance.tls.clienthello": ("appliance.http1.refused",),
    "appliance.telling": ("appliance.audit", "appliance.limits", "appliance.outgoing.deadlines"),
    "appliance.resolver": (*LEAVES, "appliance.policy", "appliance.audit", "appliance.endpoints", "appliance.telling",
                           "appliance.limits.window", "appliance.outgoing.deadlines"),
    "appliance.refusal": ("appliance.audit.record", "appliance.http1.problem"),
    "appliance.handover": (),
    "appliance.outgoing": ("appliance.names", "appliance.http1"),
    "appliance.gateway": (*LEAVES, "appliance.outgoing", "appliance.refusal", "appliance.handover", "appliance.policy", "appliance.http1", "appliance.tls", "appliance.audit",
                          "appliance.endpoints", "appliance.telling", "appliance.resolver.client", "appliance.resolver.flights",
                          "appliance.limits", "appliance.websocket"),
    "appliance.broker": (*LEAVES, "appliance.policy", "appliance.tls", "appliance.audit", "appliance.outgoing", "appliance.http1",
                         "appliance.endpoints", "appliance.refusal", "appliance.handover", "appliance.websocket"),
    "appliance.broker.scrub": ("appliance.http1.refused", "appliance.websocket"),
    "netns": (*LEAVES, "appliance.policy", "appliance.audit", "appliance.endpoints", "appliance.resolver.nameservers",
              "appliance.listeners"),
    "squid": (*LEAVES, "appliance.policy", "appliance.tls", "appliance.audit", "appliance.endpoints",
              "appliance.resolver.nameservers"),
    "squid.model": (*LEAVES, "appliance.policy"),
    "appliance.supervise": (*LEAVES, "appliance.listeners"),
    "appliance.units": LEAVES,
    "appliance.docker_host": (*LEAVES, "appliance.listeners"),
    "appliance.verify": (*LEAVES, "appliance.policy", "appliance.docker_host"),
    "appliance.preflight": (*LEAVES, "appliance.policy", "appliance.docker_host"),
    "appliance.cli": (*LEAVES, "appliance.policy", "appliance.audit", "appliance.docker_host", "appliance.listeners",
                      "appliance.preflight", "appliance.supervise", "appliance.units", "appliance.verify"),
}  # fmt: skip

# No I/O, no clock, no reactor: decisions that return values.
PURE = ("appliance.names", "appliance.refusal", "appliance.handover", "appliance.addresses", "appliance.processes", "appliance.folders", "appliance.units", "appliance.http1", "appliance.websocket", "appliance.policy",
        "appliance.tls.clienthello", "appliance.tls.authority", "appliance.audit.record", "appliance.audit.chain",
        "appliance.resolver.cache", "appliance.resolver.pins", "appliance.resolver.exchange", "appliance.resolver.judgement",
        "appliance.broker.vault.envelope", "appliance.broker.scrub", "appliance.resolver.message", "appliance.resolver.outcome", "appliance.resolver.reply", "appliance.gateway.origin", "appliance.gateway.base_url", "appliance.gateway.refusals",
        "appliance.gateway.states", "appliance.reserved_names", "appliance.workload", "appliance.faults", "appliance.limits",
        "appliance.verify.commands", "appliance.verify.report", "appliance.verify.live.selection",
        *(f"appliance.broker.dpop.{n}" for n in ("compact", "keys", "target", "proof", "nonces", "presented", "challenge")),
        *(f"appliance.broker.identity.{n}" for n in ("actors", "address_check", "jwt_keys", "spiffe", "strict_json", "thumbprint", "trusted_headers")),
        "appliance.broker.denied", "appliance.broker.token_shapes",
        *(f"appliance.broker.calls.{n}" for n in ("checks", "authority", "for_caller", "refusals")),
        "netns.plan", "netns.ruleset", "netns.fallback_rules", "netns.hostrules", "netns.shares", "netns.diff", "netns.notices", "netns.own_links",
        "netns.driver.admission", "netns.driver.admission_records", "netns.driver.api_call", "netns.driver.container_spec",
        "netns.driver.mounts", "netns.driver.network_request", "netns.driver.process_status", "netns.driver.requirements",
        "netns.driver.seal", "squid.model", "squid.render", "squid.place", "squid.accesslog")  # fmt: skip
IMPURE_WITHIN = ("appliance.policy.loader", "appliance.policy.files", "appliance.policy.catalog", "appliance.policy.store", "appliance.policy.reloads", "appliance.policy.watch", "appliance.policy.control",
                 "appliance.limits.store", "appliance.broker.scrub.observer")  # fmt: skip
FORBIDDEN_IN_PURE = ("socket", "os", "time", "random", "secrets", "subprocess", "threading", "twisted", "asyncio",
                     "pyroute2", "docker", "OpenSSL", "requests", "urllib.request")  # fmt: skip


def modules() -> dict[str, Path]:
    """Dotted name → file, for every module of the distribution."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = list(file.relative_to(ROOT).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = file
    return found


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports anywhere (`from a.b import c` counts as a.b and a.b.c)."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def allowance(module: str) -> tuple[str, ...] | None:
    matching = [prefix for prefix in MAY_IMPORT if within(module, (prefix,))]
    if not matching:
        return None
    best = max(matching, key=len)
    return (*MAY_IMPORT[best], *matching)


ALL = modules()


@pytest.mark.parametrize("module", sorted(ALL))
def test_import_direction(module: str) -> None:
    if ALL[module].name == "__init__.py":
        return
    allowed = allowance(module)
    assert allowed is not None, f"{module}: say in MAY_IMPORT what it may import"
    for name in imports(ALL[module]):
        if name in ALL and ALL[name].name != "__init__.py" and not within(name, allowed):
            pytest.fail(f"{module} imports {name}, which its place in the tree does not allow")


@pytest.mark.parametrize("module", sorted(m for m in ALL if within(m, PURE) and not within(m, IMPURE_WITHIN)))
def test_purity(module: str) -> None:
    for name in imports(ALL[module]):
        assert not within(name, FORBIDDEN_IN_PURE), f"{module} is a decision and imports {name}"


def test_a_module_that_calls_itself_pure_is_held_to_it() -> None:
    says_so = re.compile(r"\bpure\b", re.IGNORECASE)
    for module, file in ALL.items():
        if says_so.search(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""):
            assert within(module, PURE), f"{module}: list it in PURE, or do not call it so"
            assert not within(module, IMPURE_WITHIN), module


@pytest.mark.parametrize("prefix", [*PURE, *IMPURE_WITHIN])
def test_what_is_listed_as_pure_exists(prefix: str) -> None:
    assert prefix in ALL


@pytest.mark.parametrize("module", sorted(ALL))
def test_nothing_imports_a_main_and_only_a_main_installs_the_reactor(module: str) -> None:
    names = imports(ALL[module])
    if module != "appliance.cli.main":
        assert not [n for n in names if n in ALL and n.endswith(".main")]
    if "twisted.internet.reactor" in names:
        assert module.endswith(".main") or module == "appliance.supervise"


@pytest.mark.parametrize(
    "module",
    ["netns.main", "squid.main", *(f"appliance.{n}.main" for n in ("gateway", "resolver", "broker"))],
)
def test_a_process_forbids_dumps_before_it_does_anything_else(module: str) -> None:
    """The kernel forgets PR_SET_DUMPABLE at exec, so what the launcher did does not last."""
    tree = ast.parse(ALL[module].read_text(encoding="utf-8"))
    (main,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    documented, first = main.body[:2]
    assert isinstance(documented, ast.Expr)
    assert ast.unparse(first) == "privilege.forbid_dumps()"


def test_the_broker_is_not_imported_by_the_gateway_nor_the_other_way_round() -> None:
    for module, file in ALL.items():
        for name in imports(file):
            assert not (within(module, ("appliance.broker",)) and within(name, ("appliance.gateway",)))
            assert not (within(module, ("appliance.gateway",)) and within(name, ("appliance.broker",)))


# Types alone: nothing in them can be wrong that mypy does not see.
DATA = (
    "appliance.explained", "appliance.broker.calls.means", "appliance.verify.world", "netns.driver.facts", "netns.driver.refusal",
)  # fmt: skip

# Wiring: a process's main is tested as a process (tests/system), a package's marker file holds nothing.
MIRRORED_ELSEWHERE = re.compile(r"(^|\.)(main|__init__)$")


@pytest.mark.parametrize("module", sorted(ALL))
def test_tests_mirror_packages(module: str) -> None:
    if ALL[module].name == "__init__.py" or MIRRORED_ELSEWHERE.search(module):
        return
    parts = module.split(".")
    if parts[0] == "appliance":
        parts = parts[1:]
    if module in DATA:
        return
    # `test_squid_supervise.py` where pytest would meet two files of the same name.
    names = (f"test_{parts[-1]}.py", f"test_{'_'.join(parts[-2:])}.py")
    folders = [ROOT / "tests" / kind / Path(*parts[:-1]) for kind in ("unit", "system")]
    places = [folder / name for folder in folders for name in names]
    assert any(place.exists() for place in places), f"{module}: no {places[0].relative_to(ROOT)}"


def test_every_test_file_mirrors_a_module() -> None:
    known = {m.removeprefix("appliance.") for m in ALL}
    free = {"structure", "packaging"}  # tests of the tree itself
    for file in (ROOT / "tests" / "unit").rglob("test_*.py"):
        parts = [*file.relative_to(ROOT / "tests" / "unit").parent.parts, file.stem.removeprefix("test_")]
        if (
            parts[0] in ("lab", "images", "ansible", "bench", "provision", "requirements")
            or parts[-1] in free
        ):
            continue
        # A module with many tests has them in files by topic: `test_tenant_upgrades.py` beside `test_tenant.py`.
        words = parts[-1].split("_")
        names = (".".join((*parts[:-1], "_".join(words[:n]))) for n in range(len(words), 0, -1))
        assert known.intersection(names), f"{file.relative_to(ROOT)} tests no module of that name"


def test_images_are_no_package() -> None:
    assert list((ROOT / "images").rglob("*.py"))
    assert not list((ROOT / "images").rglob("__init__.py"))


def test_no_postponed_work_and_no_empty_names() -> None:
    vague = re.compile(r"(utils?|helpers?|misc|common|manager|engine|processor|handler|component)s?$")
    marker = re.compile(r"\b(TODO|FIXME|XXX)\b")  # what is looked for, nowhere else to be found
    for module, file in ALL.items():
        assert not vague.search(module.rsplit(".", 1)[-1]), module
        assert not marker.search(file.read_text(encoding="utf-8")), file


def test_the_manual_names_files_that_exist() -> None:
    """ARCHITECTURE.md sends its reader to files: those that moved must not lead astray."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_/*]+(?:\.py|\.j2|/))`", text))
    assert len(named) > 50
    for path in sorted(named):
        # A bare name stands beside a path of the same folder.
        found = list(ROOT.glob(path)) or [f for p in (*PACKAGES, "tests") for f in (ROOT / p).rglob(path)]
        assert found, f"ARCHITECTURE.md names {path}"


def test_a_table_of_a_manual_has_its_rows_in_lines() -> None:
    """A paragraph that is broken anew must not take a table with it. One form of its second row: `|---|---|`."""
    manuals = [*ROOT.glob("*.md"), *(ROOT / "ansible").glob("*.md")]
    lines = [line.strip() for file in manuals for line in file.read_text(encoding="utf-8").splitlines()]
    separators = [place for place, line in enumerate(lines) if re.search(r"\|\s*:?---", line)]
    assert len(separators) > 10
    assert [lines[place] for place in separators if not re.fullmatch(r"\|(---\|)+", lines[place])] == []
    for head, separator in ((lines[place - 1], lines[place]) for place in separators):
        assert (head[0], head[-1], head.count("|")) == ("|", "|", separator.count("|")), head


@pytest.mark.parametrize(
    ("package", "heading"),
    [
        ("appliance.gateway", "The gateway, file by file"),
        ("appliance.outgoing", "Towards servers, file by file"),
        ("netns.driver", "The Docker driver, file by file"),
    ],
)
def test_the_manual_has_a_row_for_every_file_of(package: str, heading: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (_, section) = text.split(f"### {heading}\n")
    table = [line for line in re.split(r"^##", section, flags=re.MULTILINE)[0].splitlines() if "|" in line]
    named = [name for line in table for name in re.findall(r"`([a-z0-9_]+)\.py`", line.split("|")[1])]
    assert len(named) == len(set(named)), f"{heading}: a file has two rows"
    assert set(named) == {module.rsplit(".", 1)[1] for module in ALL if within(module, (package,))} - {
        package.rsplit(".", 1)[1]
    }

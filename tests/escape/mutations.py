"""Protections, how each is taken away, and the case of the battery that must then fail. Data; see `mutate`.

Most are one of several: where nothing gets out although one is gone, the case fails because another answers
than the one that should. `held` names who still keeps the canary silent then. Where it takes several to open
the way at all, they are in one row, and with `each` it is tried that any of them alone is held by the others.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.verify.case import Layer
from tests.escape.mutation import Edit, Kernel, Mutation, Process


def _source(
    name: str,
    protects: str,
    case: str,
    restart: tuple[Process, ...],
    *edits: tuple[str, str, str],
    reached: bool | None = None,
    layer: Layer | None = None,
) -> Mutation:
    changes = tuple(Edit(*edit) for edit in edits)
    return Mutation(name, protects, case, changes, restart, reached=reached, layer=layer)


def _gateway(
    name: str, protects: str, case: str, *edits: tuple[str, str, str], reached: bool | None = None
) -> Mutation:
    return _source(name, protects, case, (Process.GATEWAY,), *edits, reached=reached)


def _resolver(
    name: str, protects: str, case: str, *edits: tuple[str, str, str], reached: bool | None = None
) -> Mutation:
    return _source(name, protects, case, (Process.RESOLVER,), *edits, reached=reached)


def _netd(
    name: str, protects: str, case: str, *edits: tuple[str, str, str], reached: bool | None = None
) -> Mutation:
    return _source(name, protects, case, (Process.NETD,), *edits, reached=reached)


def _broker(
    name: str, protects: str, case: str, *edits: tuple[str, str, str], reached: bool | None = None
) -> Mutation:
    changes = tuple((f"appliance/broker/{file}", old, new) for file, old, new in edits)
    return _source(name, protects, case, (Process.BROKER,), *changes, reached=reached)


JUDGES = (Process.GATEWAY, Process.RESOLVER)

HOSTS = (
    _gateway("number-as-host", "a number that inet_aton(3) reads as an address is no host", "C1-disguised",
             ("appliance/names.py", "if _NUMBER.fullmatch(labels[-1]):", "if _NUMBER.fullmatch(labels[-1]) and labels[1:]:")),
    _gateway("octets-of-a-host", "a host is letters, digits, hyphens and dots", "D12-forged-names",
             ("appliance/names.py", "if not _LDH_NAME.fullmatch(name):", "if False:")),
    _gateway("userinfo", "nothing stands before an '@' in an authority", "C7-userinfo",
             ("appliance/http1/target.py", 'if "@" in text:', "if False:")),
    _gateway("zone-identifier", "an address in brackets names no interface of ours", "C8-brackets",
             ("appliance/names.py", 'if "%" in text:', 'text = text.partition("%")[0]\n    if False:')),
    _gateway("one-form-of-a-host", "a trailing dot does not make another host", "C5-one-form",
             ("appliance/names.py", 'name = name.removesuffix(".")', "pass")),
    _gateway("address-as-host", "a request names a host, no address", "C13-explicit",
             ("appliance/policy/tenant.py",
              "if self._exceptions else None\n        if not isinstance(host, HostName) and excepted is None:",
              "if self._exceptions else None\n        if False:")),
    _gateway("address-in-connect", "CONNECT names a host, no address", "D1-connect",
             ("appliance/policy/tenant.py",
              "excepted = self._exception(host, port)\n        if not isinstance(host, HostName) and excepted is None:",
              "excepted = self._exception(host, port)\n        if False:")),
    _gateway("special-use-names", "a name of no public DNS is asked of nobody", "D1-connect",
             ("appliance/policy/hosts.py", "return not dot or last in SPECIAL_USE", "return False")),
)  # fmt: skip

TLS = (
    _gateway("name-of-the-tunnel", "TLS in a tunnel is for the host that the tunnel is for", "D3-server-name",
             ("appliance/gateway/opening.py", "if name != authority.host:", "if False:")),
    _gateway("fronting", "a request inside TLS is for the server name", "D4-fronting",
             ("appliance/gateway/origin.py", "if head.host != channel.server_name:", "if False:"), reached=True),
    _gateway("destination-of-tls", "TLS past the proxy goes to an address of its server name", "D5-unrelated",
             ("appliance/gateway/opening.py",
              "standing = refusals.not_pinned(name, destination)", "standing = None")),
    _gateway("destination-of-http", "plain HTTP past the proxy goes to an address of its host", "D5-unrelated",
             ("appliance/gateway/origin.py", '_origin("http", head.host, channel.port, pin=True)',
              '_origin("http", head.host, channel.port)')),
    _gateway("nothing-but-tls", "in a tunnel only TLS is spoken", "D8-tunnel",
             ("appliance/gateway/opening.py", "elif self._authority is not None:", "elif False:")),
    _gateway("certificate-chain", "a server proves itself by a chain to a trusted authority", "D11-servers",
             ("appliance/tls/upstream.py", "if not passed:", "if False:"), reached=True),
    _gateway("certificate-name", "and by a certificate for its own name", "D11-servers",
             ("appliance/tls/upstream.py", "if depth == 0:", "if False:"), reached=True),
    _gateway("old-versions", "TLS is 1.2 or newer", "D11-versions",
             ("appliance/tls/profile.py", "SSL.TLS1_2_VERSION", "SSL.TLS1_VERSION"),
             ("appliance/tls/profile.py", "DHE+AESGCM:!aNULL:!eNULL", "ALL:@SECLEVEL=0")),
)  # fmt: skip

WIRE = (
    _gateway("length-and-coding", "a body has one length", "E1-bytes",
             ("appliance/http1/framing.py", 'if length is not None:\n            raise Refused(400, "length-and-coding"',
              'if False:\n            raise Refused(400, "length-and-coding"')),
    _gateway("repeated-fields", "a field of which one counts stands once", "E5-bytes",
             ("appliance/http1/section.py", "elif key in REQUEST_SINGLETONS:", "elif False:")),
    _gateway("coding-known", "the only coding is chunked", "E1-bytes",
             ("appliance/http1/framing.py", 'if coding.lower() != b"chunked":\n            raise Refused',
              "if False:\n            raise Refused")),
    _gateway("line-ends", "every octet of a head belongs to a line that is understood", "E3-bytes",
             ("appliance/http1/head.py", 'if len(lines) != octets.count(b"\\n") - 2:\n        raise _field_fault',
              "if False:\n        raise _field_fault")),
    _gateway("host-is-the-target's", "Host and target name one host", "E5-authority",
             ("appliance/http1/head.py", "if host != authority.host or (port or implied) != authority.port:",
              "if False:")),
    _gateway("end-of-a-chunk", "a chunk ends where it said", "E2-chunks",
             ("appliance/http1/body.py", 'if line != b"\\r\\n":', "if False:")),
    _gateway("trailers", "no framing field stands among trailers", "E2-chunks",
             ("appliance/http1/body.py", 'in {b"content-length", b"transfer-encoding", b"host"}:', "in ():")),
    _gateway("empty-segments", "a path is one thing to every reader", "E10-bytes",
             ("appliance/http1/target.py", 'if "//" in path:', "if False:")),
    _gateway("escapes-twice", "a path means the same after another decoding", "E10-bytes",
             ("appliance/http1/target.py", "_refuse_ambiguous(path, encoded_slash=encoded_slash)\n    if _DOT",
              "pass\n    if _DOT")),
    _gateway("h2c", "HTTP/2 is not begun by an upgrade", "E12-bytes",
             ("appliance/http1/section.py", 'if b"http2-settings" in fields or', "if False and")),
    _gateway("spoofed-fields", "no field speaks for a front end", "E9-fields",
             ("appliance/http1/fields.py", "return dashed not in _SPOOFED and not dashed.startswith(_SPOOFED_PREFIXES)",
              "return True") ),
    _gateway("https-in-plain", "an https target needs a tunnel", "E6-forms",
             ("appliance/http1/target.py", 'if target.scheme != "http":', "if False:")),
)  # fmt: skip

POLICY = (
    _gateway("reading-only", "the default profile reads and does not write", "F3-uploads",
             ("appliance/policy/tenant.py", "elif facts.method not in READING:", "elif False:"), reached=True),
    _gateway("body-of-a-get", "a GET carries nothing", "F1-sizes",
             ("appliance/policy/denials.py", "if facts.method in READING and facts.has_body:", "if False:")),
    _gateway("size-of-a-target", "a target holds so much and no more", "F1-sizes",
             ("appliance/policy/denials.py", "if facts.uri_bytes > caps.uri_bytes:", "if False:")),
    _gateway("size-of-a-head", "and so do header fields", "F1-sizes",
             ("appliance/policy/denials.py", "if facts.header_bytes > caps.header_bytes:", "if False:"), reached=True),
    _gateway("web-ports", "CONNECT is for a web port", "D2-ports",
             ("appliance/policy/tenant.py", "if any(scheme in (None, s) and port in (None, p) for s, p in WEB):",
              "if True:")),
    _gateway("path-of-a-resolver", "DNS over HTTPS on a host that may be read", "B8-doh-path",
             ("appliance/policy/tenant.py", "elif not _plain(facts.path):",
              "elif False:"), reached=True),
    _gateway("paths-of-a-rule", "a rule allows the paths that it lists", "E7-rule",
             ("appliance/policy/rules.py", "if not one_fits(self.paths, facts.path):",
              "if False:"), reached=True),
    _gateway("upgrades", "a connection changes its protocol by a rule or not at all", "E13-upgrade",
             ("appliance/policy/denials.py", "if facts.upgrade is not None and", "if False and"),
             ("appliance/policy/tenant.py", "elif facts.upgrade is not None:", "elif False:")),
    _gateway("rate-of-connections", "a container connects so often and not more", "F7-flood",
             ("appliance/limits/budget.py", "passed = self._first(charged, _FOR_A_CONNECTION, now, payer)",
              "passed = None")),
)  # fmt: skip


NAMES = (
    _resolver("judged-before-asked", "nothing of a name that is not allowed leaves", "B3-questions",
              ("appliance/resolver/judgement.py", "return None if verdict.allowed else _by_rule(verdict)",
               "return None"), reached=True),
    _resolver("judged-answers", "an address that is not public is in no answer", "B7-answers",
              ("appliance/resolver/judgement.py",
               "verdict = policy.judge_address(name, None, address)\n        if not verdict.allowed:",
               "verdict = policy.judge_address(name, None, address)\n        if False:")),
    _resolver("types", "a question for anything but addresses is not asked on", "B4-forms",
              ("appliance/resolver/answering.py", "if not wants_address and question.type not in _EMPTY_TYPES:",
               "if False:")),
    _resolver("empty-types", "AAAA, HTTPS and SVCB have an empty answer", "B6-types",
              ("appliance/resolver/answering.py",
               "frozenset({dns.rdatatype.AAAA, dns.rdatatype.HTTPS, dns.rdatatype.SVCB})", "frozenset()")),
    _resolver("rate-of-questions", "a tenant asks so often and not more", "B4-bounded",
              ("appliance/resolver/answering.py", "if admission in LIMITED:", "if False:"),
              ("appliance/resolver/answering.py", "if admission in LIMITED_FIRST:", "if False:")),
    _resolver("strangers-in-answers", "of an answer only what is of the asked name counts", "B11-hostile",
              ("appliance/resolver/exchange.py", "found = reply.addresses.get(owner)",
               "found = next(iter(reply.addresses.values()), None)")),
)  # fmt: skip

JUDGED_ANSWER = ("appliance/resolver/judgement.py",
                 "verdict = policy.judge_address(name, None, address)\n        if not verdict.allowed:",
                 "verdict = policy.judge_address(name, None, address)\n        if False:")  # fmt: skip
JUDGED_ROUTE = ("appliance/gateway/routes.py", "if not verdict.allowed:\n                raise NoRoute", "if False:\n                raise NoRoute")  # fmt: skip
SPECIAL_RULE = ("netns/ruleset.py", '"ip daddr @special goto leave-to-special",', "")
SPECIAL_ROUTES = ("netns/plan.py", "closed = [b for b in special if", "closed = [b for b in () if")

TOGETHER = (
    _source("listed-hosts", "an allowlist means what it lists, to resolver and gateway", "C5-denied", JUDGES,
            ("appliance/policy/tenant.py", "if near else host_not_listed(facts.host, rule, self.tenant)",
             "if near else allowed(Reason.ALLOWED_BY_RULE, rule, '')"),
            ("appliance/policy/tenant.py", "return host_not_listed(host, rule, self.tenant)",
             "return allowed(Reason.ALLOWED_BY_RULE, rule, '')"), reached=True),
    _source("private-addresses", "resolver and gateway judge addresses; without them the kernel holds", "B7-requests",
            JUDGES, JUDGED_ANSWER, JUDGED_ROUTE, reached=False),
    _source("private-addresses-all", "and without its rule and its routes nobody does", "B7-requests",
            (Process.GATEWAY, Process.RESOLVER, Process.NETD), JUDGED_ANSWER, JUDGED_ROUTE, SPECIAL_RULE,
            SPECIAL_ROUTES, reached=True),
)  # fmt: skip

OPERATOR = (
    _source("ranges-of-exceptions", "no operator excepts a range that is always blocked", "G3-ranges", (),
            ("appliance/addresses.py", "if block.kind not in EXCEPTABLE:", "if False:")),
    _source("last-good-policy", "a policy that cannot be read changes nothing", "G2-last-good", JUDGES,
            ("appliance/policy/store.py", "name: new or self._tenants.get(name) for", "name: new for")),
    _source("no-policy", "who has no policy may do nothing", "G1-absent", JUDGES,
            ("appliance/policy/set.py", "or TenantPolicy(tenant)",
             "or next(iter(self.tenants.values()), TenantPolicy(tenant))"), reached=True),
)  # fmt: skip


def _admission(name: str, protects: str, case: str, *edits: tuple[str, str]) -> Mutation:
    return _netd(name, protects, case, *(("netns/driver/requirements.py", old, new) for old, new in edits))


ADMISSION = (
    # Docker itself adds to --privileged an open /proc and a SecurityOpt, each of which is refused as well.
    _admission("privileged", "no container of a tenant is privileged", "A12-power",
               ('"--privileged" if asked.spec.host.flag("Privileged") else ""', '""'),
               ("if not least <= set(asked.spec.host.texts(name)):", "if False:"),
               ("if text not in allowed]", "if text not in allowed and False]")),
    _admission("cap-add", "none has a capability", "A12-power", ('_empty("CapAdd", "--cap-add")', 'lambda _asked: ""')),
    _admission("user", "none is root", "A12-power",
               ('else "--user 1000:1000 (uid and gid in numbers, neither 0)"', 'else ""')),
    _admission("security-opt", "none is without seccomp", "A12-power",
               ("if text not in allowed]", "if text not in allowed and False]")),
    _admission("mounts", "none sees files of the host", "A23-engine",
               ('return ", ".join(filter(None, problems))', 'return "" and ", ".join(filter(None, problems))')),
    _admission("one-network", "none has a second network", "A23-host-network",
               ("return {network.id for network in found} != {asked.network.id}", "return False"),
               ('return "--network twice" if len(asked.spec.endpoints) > 1 else ""', 'return ""')),
    _admission("ipc", "none shares memory", "A26-shared",
               ('frozenset({"", "private", "none"})', 'frozenset({"", "private", "none", "host", "shareable"})')),
)  # fmt: skip

SEAL = (
    replace(
        _netd("embedded-resolver", "Docker's own resolver answers no container", "B9-back-door",
              ("netns/driver/seal.py", "ip daddr {EMBEDDED} drop", "ip daddr {EMBEDDED} accept")),
        anew=True,
    ),
)  # fmt: skip

DEPARTURE = (
    _netd("tcp-by-uid", "only who has business there opens TCP to the public", "A4-taken-resolver",
          ("netns/ruleset.py", 'else f"{outbound} meta l4proto tcp accept"', 'else "meta l4proto tcp accept"'),
          reached=True),
    _netd("tcp-alone", "and nobody anything but TCP", "A6-taken-gateway",
          ("netns/ruleset.py", 'else f"{outbound} meta l4proto tcp accept"', 'else f"{outbound} accept"'), reached=True),
    _netd("name-servers", "questions go to the configured servers, from who asks them", "B1-taken-gateway",
          ("netns/ruleset.py", 'f"{asks} ip daddr . udp dport @name_servers accept"', '"udp dport 53 accept"'),
          reached=True),
    _netd("answers-alone", "no process of ours opens a connection to a container", "A19-taken-gateway",
          ("netns/ruleset.py", '"meta l4proto tcp tcp flags & (syn | ack) != syn accept"', '"meta l4proto tcp accept"'),
          ("netns/ruleset.py", '"counter name worker-absent drop"', '"accept"'), reached=True),
)  # fmt: skip

WEBSOCKETS = (
    _gateway("mask-of-a-frame", "which octets stand on the wire is not the client's to choose", "E13-allowed",
             ("appliance/websocket/frames.py", "        new = self._new_mask()\n", "        new = mask\n")),
    _gateway("reserved-bits", "a frame's meaning depends on no extension", "E13-frames",
             ("appliance/websocket/frames.py", "if first & _RESERVED:", "if False:"), reached=True),
    _gateway("masked-or-not", "a client's frames are masked, a server's are not", "E13-servers",
             ("appliance/websocket/frames.py", "if bool(second & _MASKED) != (self._new_mask is not None):", "if False:")),
    _gateway("answer-to-the-key", "a server that answers another key is no WebSocket's", "E13-servers",
             ("appliance/websocket/handshake.py",
              'if list(_values(head.headers, b"sec-websocket-accept")) != [handshake.accept]:', "if False:")),
    _gateway("key-of-a-handshake", "a handshake is one", "E13-handshake",
             ("appliance/websocket/handshake.py", "if len(keys) != 1 or not _KEY(keys[0]):", "if len(keys) != 1:"),
             reached=True),
    _gateway("subprotocols", "a WebSocket speaks what its rule lists", "E13-handshake",
             ("appliance/policy/rules.py",
              "if facts.subprotocols and not self.subprotocols.issuperset(facts.subprotocols):", "if False:"), reached=True),
    _gateway("early-frames", "no frame comes before the answer to a handshake", "E13-early",
             ("appliance/gateway/forwarding.py", "elif session.intake.waiting or session.half_closed:", "elif False:")),
    _gateway("websocket-and-its-rule", "a WebSocket ends with its rule", "G5-websocket",
             ("appliance/gateway/websocket.py",
              "if not self._exchange.adopt(policy):", "if False:")),
)  # fmt: skip

UNSEALED = """\
        from twisted.internet.defer import Deferred
        found = self._means.policy(attestation.tenant).account(attestation.account)
        Deferred.fromCoroutine(self._means.secrets.of_account(attestation, found)) if found else None
        self._passed(Check.INTENT, checks.intent(attestation, head))
"""

BROKER = (
    _broker("callers-uid", "nobody but the gateway hands calls over", "H10-root",
            ("calls/connection.py", "        if peer.uid != self._uid:\n", "        if False:\n"), reached=True),
    _broker("link-of-a-call", "a call is for a link that netd knows", "H10-calls",
            ("calls/checks.py",
             "if endpoint is None or endpoint.tenant != attestation.tenant or str(endpoint.address) != source:",
             "if False:"), reached=True),
    _broker("word-of-netd", "no worker says whom a record is about", "H10-record",
            ("calls/checks.py", "return replace(attestation, container=endpoint.container, run=endpoint.run)",
             "return attestation")),
    _broker("host-of-an-account", "a secret goes to the hosts of its account", "H10-calls",
            ("calls/checks.py", 'group = account.groups.get(verdict.group or "")',
             "group = next(iter(account.groups.values()))"),
            ("calls/checks.py", "if verdict.account != account.name or group is None or", "if"), reached=True),
    _broker("address-of-a-provider", "every address of a provider is judged", "H10-finds-inward",
            ("calls/checks.py", "        if not verdict.allowed:\n            return refusals.denied(403, str(verdict.reason)",
             "        if False:\n            return refusals.denied(403, str(verdict.reason)")),
    _broker("peer-of-a-socket", "the broker speaks to nobody but whom it judged", "H10-dials-elsewhere",
            ("calls/dials.py", "if address is None or address not in addresses:", "if address is None:")),
    _broker("sealed-until-allowed", "no secret is decrypted for a call that is refused", "H10-sealed",
            ("calls/call.py", "        self._passed(Check.INTENT, checks.intent(attestation, head))\n",
             UNSEALED)),
    _broker("own-authority", "who brings an authority of his own collides", "H2-collisions",
            ("calls/authority.py", "        if name not in ours:\n            raise Collision",
             "        if name not in ours:\n            continue\n            raise Collision"), reached=True),
    _broker("end-of-a-collision", "and is stopped", "H2-collisions",
            ("calls/ending.py", "        self._stop(attestation, reason, why)\n", "        pass\n"), reached=False),
    _broker("reference-and-account", "a reference names the account's own secret", "H3-references",
            ("calls/call.py", "elif found.kind is Kind.REFERENCE and found.value not in {account.secret, account.name}:",
             "elif False:"), reached=True),
    _gateway("references-elsewhere", "a handle or a reference goes to nobody else", "H3-references",
             ("appliance/gateway/judging.py", "if verdict.account is None and _for_the_broker(head):", "if False:"),
             reached=True),
    _broker("handle-and-execution", "a handle serves the container that it was given to", "H8-stolen",
            ("handles.py", "if held is None or held.bound != bound:", "if held is None:"), reached=True),
    _broker("certificate-and-link", "a certificate serves the link that it was issued to", "H8-stolen",
            ("api/operations.py", "if (found.endpoint, found.id.tenant) != (attestation.endpoint, attestation.tenant):",
             "if False:"), reached=True),
    _broker("token-and-certificate", "a session's token serves the certificate that it was opened with", "H8-stolen",
            ("sessions.py", "if not same_thumbprint(session.x5t_s256, presenter.thumbprint):", "if False:"), reached=False),
    _broker("end-of-handles", "what is ended is dead", "H7-interface",
            ("handles.py", "        return self._purge(tuple(self._executions.get(execution, ())))",
             "        return 0")),
    _broker("scrubbing", "no answer holds the secret", "H9-echo",
            ("calls/serving.py", "scrubbing=Scrubber,", "scrubbing=lambda _live: Scrubber(()),")),
    _broker("scrubbed-redirects", "nor the address that an answer leads to", "H9-away",
            ("calls/serving.py", "scrubbing=Scrubber,", "scrubbing=lambda _live: Scrubber(()),"), reached=True),
    _broker("issued-authority", "nor what a provider hands out as authority", "H9-echo",
            ("calls/authority.py", 'return name.lower().replace(b"_", b"-") in _ISSUED', "return False")),
)  # fmt: skip

SETUP = (
    _source("private-addresses-uplinked", "a company's proxy is asked for no private address", "G9-proxy",
            (*JUDGES, Process.NETD), JUDGED_ANSWER, JUDGED_ROUTE, reached=True),
    _source("edge-of-a-label", "a rule for names below one is for no name that only ends so", "C9-wildcard", JUDGES,
            ("appliance/policy/rules.py", """            if depth < dots:
                host, dots = host.split(".", dots - depth)[-1], depth
                if bucket := self._below.get(host):""",
             """            for at in range(len(host)):
                if bucket := self._below.get(host[at:]):""")),
    _source("capabilities", "a process without its capabilities does not start", "A21-powerless", (),
            ("appliance/privilege.py", 'raise PrivilegeError(f"cannot set capabilities', 'str(f"'),
            ("appliance/privilege.py", 'raise PrivilegeError("; ".join(problems))', "str(problems)")),
    _source("repetition", "a refused request stays refused", "F8-flood", JUDGES,
            ("appliance/policy/tenant.py", "if near else host_not_listed(facts.host, rule, self.tenant)",
             "if near else allowed(Reason.ALLOWED_BY_RULE, rule, '')"),
            ("appliance/policy/tenant.py", "return host_not_listed(host, rule, self.tenant)",
             "return allowed(Reason.ALLOWED_BY_RULE, rule, '')"), reached=True),
)  # fmt: skip

KERNEL = (
    Mutation("special-ranges", "a process that was taken over reaches no special range", "C12-taken-gateway", (), (),
             Kernel((("ip daddr @special goto leave-to-special\n", "\n"),),
                    (("ip", "route", "flush", "type", "unreachable"),)), reached=True, each=True),
    Mutation("no-way-through", "nothing is forwarded", "A7-unbound", (), (),
             Kernel((('meta mark set iifname . ip saddr map @endpoints\n\t\tmeta mark 0x00000000 counter name "spoofed" drop\n',
                      "meta mark 0x00000000 accept\n"),
                     ('counter name "forward-dropped" drop\n', "accept\n")),
                    (("sysctl", "-qw", "net.ipv4.ip_forward=1"),), (("sysctl", "-qw", "net.ipv4.ip_forward=0"),)),
             reached=True, each=True),
)  # fmt: skip


def _squid(name: str, protects: str, case: str, *edits: tuple[str, str]) -> Mutation:
    changes = tuple(("squid/templates/squid.conf.j2", old, new) for old, new in edits)
    return _source(name, protects, case, (Process.SQUID,), *changes, reached=True, layer=Layer.SQUID)


FALLBACK = (
    _squid("fallback-methods", "the fallback reads", "F3-uploads", ("http_access deny !reading !tunnel\n", "")),
    _squid("fallback-bodies", "and sends nothing", "E2-get-fallback", ("http_access deny has_body\n", "")),
    _squid("fallback-targets", "it takes plain paths alone", "B8-doh-path",
           ("http_access deny !tunnel !plain_target\n", "")),
    _squid("fallback-certificates", "its servers prove who they are", "D11-servers-fallback",
           ("sslproxy_cert_error deny all", "sslproxy_cert_error allow all")),
)  # fmt: skip

MUTATIONS: tuple[Mutation, ...] = (
    *HOSTS, *TLS, *WIRE, *POLICY, *NAMES, *TOGETHER, *OPERATOR, *ADMISSION, *SEAL, *DEPARTURE, *KERNEL, *FALLBACK, *WEBSOCKETS, *BROKER, *SETUP,
)  # fmt: skip

"""The lab's tenants. `lab-acme` reads the web (default profile), clones from one git server, may submit text and open WebSockets."""

from __future__ import annotations

from tests.lab.internet import GIT, LIAR, WWW

READER, LISTER = "lab-acme", "lab-globex"
POLICIES = {
    READER: f"""
profile: read-only-web
rules:
  - name: git-clone
    hosts: [{GIT.name}]
    methods: [GET, POST]
    paths: ["/*/info/refs", "/*/git-upload-pack"]
    query: [service]
    content_types: [application/x-git-upload-pack-request]
  - name: submissions
    hosts: [{WWW.name}, {LIAR.name}]
    methods: [POST]
    ports: [80, 443]
    paths: ["/canary/submit/*"]
    content_types: [text/plain]
    max_body: 4KiB
  - name: live
    hosts: [{LIAR.name}]
    schemes: [http, https]
    ports: [80, 443]
    paths: ["/canary/ws/**"]
    upgrade: websocket
    subprotocols: [chat]
    max_body: 4KiB
""",
    LISTER: f"""
profile: allowlist
rules:
  - name: web-site
    hosts: [{WWW.name}]
""",
}

"""The lab's tenants. `lab-acme` reads the web (default profile) and clones from one git server."""

from __future__ import annotations

from tests.lab.internet import GIT, WWW

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
""",
    LISTER: f"""
profile: allowlist
rules:
  - name: web-site
    hosts: [{WWW.name}]
""",
}

"""What ends a stream rather than let an octet through that nobody has looked at."""

from __future__ import annotations


class ScrubFault(Exception):
    """A stable `code`; `detail` is one sentence and never quotes what was read.

    | code                        | meaning                                                         |
    |-----------------------------|-----------------------------------------------------------------|
    | `scrub-secret-short`        | a live secret is too short to be told from ordinary text        |
    | `scrub-secret-long`         | live secrets are longer than the searched forms may be          |
    | `scrub-secret-plain`        | a live secret is part of a marker                               |
    | `scrub-pattern-invalid`     | an operator's pattern is not one                                |
    | `content-coding-unknown`    | a body in a coding that cannot be looked into                   |
    | `content-codings-too-many`  | a body coded more often than twice                              |
    | `content-coding-damaged`    | a coded body that breaks off, or is not what its coding says    |
    | `content-expands-too-far`   | a small body that decodes to a huge one                         |
    | `content-partial`           | a range of a body: a secret could be fetched in parts           |
    | `content-charset-unknown`   | a text whose charset does not write ASCII as ASCII              |
    | `scrub-failed`              | a failure of our own, or a stream that had failed before        |
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

"""One way to say no, as a value: status, stable reason, sentence, rule, mend. Its page is RFC 9457's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.audit.record import Outcome
from appliance.http1.problem import problem_response

NO_RULE = "gateway"
"""The `rule` of a refusal that no policy document can change."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One typed refusal. `outcome` is DENIED by a rule, or FAILED when it was allowed and could not be done.

    `alert` is what a client hears that speaks TLS before there is anything to say it in (RFC 8446 section
    6.2): 49 access_denied, 50 decode_error, 80 internal_error, 112 unrecognized_name. `proxy_error` is a type
    of RFC 9209 section 2.3 where the status does not say enough (`problem_response`).
    """

    status: int
    reason: str
    detail: str
    mend: str
    rule: str = NO_RULE
    outcome: Outcome = Outcome.DENIED
    retry_after: int | None = None
    closes: bool = False
    alert: int = 49
    proxy_error: str | None = None

    @property
    def title(self) -> str:
        """RFC 9457 section 3.1.3: the same short text for the same reason."""
        return self.reason.replace("-", " ").capitalize()

    def closing(self) -> Refusal:
        """The same, with the connection closed after it."""
        return replace(self, closes=True)

    def page(self, request_id: str, *, close: bool = True, head_only: bool = False) -> bytes:
        """The refusal as a whole HTTP response (RFC 9457)."""
        headers = [("X-Egress-Request-Id", request_id)]
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        return problem_response(
            self.status,
            self.reason,
            self.title,
            self.detail,
            request_id,
            extra={"rule": self.rule, "mend": self.mend, "request_id": request_id},
            close=close,
            head_only=head_only,
            proxy_error=self.proxy_error,
            headers=tuple(headers),
        )

    def alert_record(self) -> bytes:
        """The refusal as a fatal TLS alert record (RFC 8446 sections 5.1 and 6)."""
        return bytes([21, 3, 3, 0, 2, 2, self.alert])

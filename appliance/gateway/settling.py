"""The end of a request, however it ends: one record, and nothing that was held for it is held any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import Outcome

if TYPE_CHECKING:
    from appliance.gateway.channel import Channel
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.worker import Worker
    from appliance.refusal import Refusal


def settle(
    worker: Worker,
    channel: Channel,
    exchange: Exchange,
    refusal: Refusal | None,
    detail: str | None = None,
    *,
    held: bool = False,
) -> bool:
    """End what is under way, and write the record. False when it could not be written.

    What was refused before anything was done for it may share its record with others (see `telling`).
    Without a `refusal` the request was allowed and done, and `detail` says how it ended where that is known.
    A record that is `held` is written with others, when the answer leaves the outbox.
    """
    relay = exchange.relay
    if relay is not None:
        relay.release()
        relay.upstream.abort()
    if exchange.flow is not None:
        exchange.flow.close()
    if refusal is not None and refusal.outcome is Outcome.DENIED:
        worker.budget.denied(channel.caller.endpoint.id)
    record = exchange.record(channel, worker.elapsed_ms(exchange.started), refusal, detail)
    try:
        if refusal is not None and refusal.outcome is Outcome.DENIED and exchange.flow is None:
            worker.telling.write(record, exchange.claim)
        elif exchange.claim is None:
            worker.audit.write(record)
        elif held:
            exchange.claim.hold(record)
        else:
            exchange.claim.write(record)
    except AuditUnavailable:
        return False
    return True

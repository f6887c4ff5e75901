"""Calls of clients that travel in the batches of the link, and all others beside it.

A call of its own costs both ends as much as many messages. `change_message` is what many clients do
at once, so it goes with them; to a client there is no difference.
"""

from betterproto import Message

from gen.chat import ChangeMessageRequest, Error, ErrorCode
from hosting.tracing import spans
from proxy.core.call_table import CallType
from proxy.core.client import Caller
from proxy.core.switchboard import Switchboard
from proxy.errors import Refused
from proxy.metrics import ProxyMetrics
from proxy.upstream.calls import Calls
from proxy.upstream.status import with_field


class RelayedCalls:
    """Makes unary calls of clients.

    Args:
        calls: makes those that go beside the link.
        switchboard: makes the others.
        metrics: counts those.
    """

    def __init__(self, calls: Calls, switchboard: Switchboard, metrics: ProxyMetrics) -> None:
        self._calls = calls
        self._switchboard = switchboard
        self._metrics = metrics

    async def make(self, call: CallType, request: Message, caller: Caller | None = None) -> Message:
        """Makes a call for `caller`, a client with a token, if any; returns the response message.

        Raises:
            Refused: the server refused, or did not answer before the deadline.
        """
        if not isinstance(request, ChangeMessageRequest):
            return await self._calls.make(call, request, caller)
        with spans.span(call.path.strip("/"), "client") as span:
            try:
                answer = await self._switchboard.change(caller, request)
            except Refused as refused:
                if _is_unknown(refused.error):
                    return await self._calls.make(call, request, caller)
                error = with_field(refused.error, call.field)
                status = error.code.name or ""
                self._metrics.calls[call.field, status] += 1
                span.fail(status)
                raise Refused(error) from refused
        self._metrics.calls[call.field, "OK"] += 1
        return answer


def _is_unknown(error: Error) -> bool:
    """Whether a server of before does not know the command: it is asked by the call instead."""
    return error.code == ErrorCode.INVALID_ARGUMENT and error.message.startswith("command:")

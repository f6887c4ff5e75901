"""The standard health check of gRPC: is the server there, and is the link alive?"""

import asyncio
from typing import Final

from grpclib import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from hosting.grpc.channel import Channel
from proxy.upstream.lost import LOST
from proxy.upstream.recent import Recent

_CHECK_SECONDS: Final = 2.0
# One answer serves everybody who asks within this time.
_RECENT_SECONDS: Final = 0.5


class Health:
    """Asks the server how it is.

    Args:
        channel: the channel to it.
        heartbeat_seconds: the time between two checks of a link.

    Attributes:
        refusing: set while the last answer was that it does not serve.
    """

    def __init__(self, channel: Channel, heartbeat_seconds: float) -> None:
        self._channel = channel
        self._stub = HealthStub(channel)
        self._heartbeat_seconds = heartbeat_seconds
        self._recent = Recent(self._is_serving, _RECENT_SECONDS)
        self.refusing = asyncio.Event()

    async def is_serving(self) -> bool:
        """Returns whether the server answers that it serves, or did so a moment ago."""
        return await self._recent.get()

    async def watch(self) -> None:
        """Ends the connection as soon as a check is not answered: a dead link says nothing.

        Raises:
            TimeoutError: no answer came within half a heartbeat.
        """
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self.ask()
            except TimeoutError:
                # Another connection is made; what waits on this one may wait for ever.
                self._channel.abort()
                raise

    async def ask(self) -> None:
        """Asks once, and notes in `refusing` what was answered.

        Raises:
            TimeoutError: no answer came within half a heartbeat.
        """
        serves = True
        try:
            answer: HealthCheckResponse = await self._stub.Check(
                HealthCheckRequest(), timeout=self._heartbeat_seconds / 2
            )
            serves = answer.status != HealthCheckResponse.NOT_SERVING
        except GRPCError:
            pass  # which is an answer too
        if serves:
            self.refusing.clear()
        else:
            self.refusing.set()

    async def close(self) -> None:
        """Ends a check that is under way."""
        await self._recent.close()

    async def _is_serving(self) -> bool:
        try:
            response: HealthCheckResponse = await self._stub.Check(
                HealthCheckRequest(), timeout=_CHECK_SECONDS
            )
        except LOST:
            return False
        return response.status == HealthCheckResponse.SERVING

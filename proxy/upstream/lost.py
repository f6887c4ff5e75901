"""How a link is lost, or cannot be had: the exceptions of all layers below."""

from __future__ import annotations

from typing import Final

from grpclib import GRPCError
from grpclib.exceptions import ProtocolError, StreamTerminatedError

import codec
from hosting.grpc.errors import StreamClosed
from proxy.core.room import GapError

CUT_OFF: Final = (OSError, StreamTerminatedError, ProtocolError, StreamClosed)
"""A call ended, and not by the server."""

LOST: Final = (*CUT_OFF, TimeoutError, GRPCError, codec.DecodeError, GapError)
"""The link ended, whoever ended it."""

"""The exceptions of all layers below by which a link is lost, or cannot be had."""

from typing import Final

from grpclib import GRPCError
from grpclib.exceptions import ProtocolError, StreamTerminatedError

import codec
from hosting.grpc.errors import StreamClosed
from proxy.core.room import ProtocolViolation

CUT_OFF: Final = (OSError, StreamTerminatedError, ProtocolError, StreamClosed)
"""A call was cut off: it ended, and not by a status of the server."""

LOST: Final = (*CUT_OFF, TimeoutError, GRPCError, codec.DecodeError, ProtocolViolation)
"""The link ended, by either side."""

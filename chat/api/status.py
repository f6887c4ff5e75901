"""The gRPC statuses of errors."""

from grpclib import GRPCError, Status

import codec
from chat.errors import ChatError, RateLimited
from hosting.grpc.errors import invalid_argument, retry_later


def status_of(error: Exception) -> GRPCError | None:
    """Returns the error that ends a call; `None` for a defect."""
    match error:
        case RateLimited():
            return retry_later(str(error), error.wait)
        case ChatError():
            return GRPCError(Status[error.code], str(error))
        case codec.DecodeError():
            return invalid_argument("message", str(error))
    return None

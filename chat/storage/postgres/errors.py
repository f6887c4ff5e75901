"""What the errors of asyncpg mean here: no I/O.

They come as errors of the server, by their class in
https://www.postgresql.org/docs/current/errcodes-appendix.html, and as asyncpg's own.
"""

from typing import Final

import asyncpg

from chat.storage.base import StoreError, StoreUnusable

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    asyncpg.InternalClientError,
)
"""What any call of asyncpg may raise that is no defect of the program. A timeout is an OSError."""


class LeftBehind(StoreError):
    """A connection leads to a server that another one was promoted over; the next one may not."""


OTHER_EPOCH: Final = "CH001"
ROOM_MISSING: Final = "CH002"
HISTORY_MISSING: Final = "CH003"
CHANGED_MEANWHILE: Final = "CH004"
USERS_ERASED: Final = "CH005"
"""Raised by the functions of the schema."""

# The connection, or the server behind it, is of no use any more; another one may be.
_LOST: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    # A primary that became a standby.
    asyncpg.ReadOnlySQLTransactionError,
)
# What other transactions did; the same may succeed at once.
_PASSING: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)
_OF_A_VALUE: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)

_REMEDIES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (asyncpg.InvalidPasswordError, "check user and password (--database-password-file)"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "check the user, and the server's pg_hba.conf",
    ),
    (asyncpg.InvalidCatalogNameError, "create it, with ENCODING 'UTF8'"),
    (
        asyncpg.InsufficientPrivilegeError,
        "start once as the owner of the schema, or grant the rights",
    ),
    (
        asyncpg.TargetServerAttributeNotMatched,
        "no server takes writes: all are standbys or read-only",
    ),
    (asyncpg.TooManyConnectionsError, "raise max_connections of the server"),
    (asyncpg.CannotConnectNowError, "the server starts or stops: try again"),
    (asyncpg.ProtocolViolationError, "name the server itself, not a pooler in front of it"),
    (TimeoutError, "the server does not answer"),
)


def is_lost(error: BaseException) -> bool:
    """Whether a connection is of no use any more, so that another one may succeed."""
    return isinstance(error, _LOST) and not isinstance(error, ValueError)


def is_passing(error: BaseException) -> bool:
    """Whether the same may succeed at once."""
    return isinstance(error, _PASSING)


def is_of_a_value(error: BaseException) -> bool:
    """Whether a value in the call is at fault, and not the database."""
    # asyncpg's own DataError, which has no public name, is both of the latter.
    return isinstance(error, _OF_A_VALUE) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    )


def is_repeated(error: BaseException) -> bool:
    """Whether a message is stored already."""
    return isinstance(error, asyncpg.UniqueViolationError) and "_sender_id_" in (
        error.constraint_name or ""
    )


def fault_of(*texts: str) -> str:
    """Returns why the database can't hold texts; empty if nothing is known against them."""
    text = "".join(texts)
    if "\0" in text:
        return "a text has a NUL"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return str(error)
    return ""


def state_of(error: BaseException) -> str:
    """Returns the SQLSTATE of an error of the server, else an empty text."""
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def text_of(error: BaseException) -> str:
    """Returns an error in one line, for the log or an operator."""
    if isinstance(error, asyncpg.InternalClientError):
        # Its text is of the states of asyncpg's own machine, and puzzles operators.
        return "the connection to the database was lost"
    text = " ".join(str(error).split())
    return text or type(error).__name__


def unusable(shown: str, error: Exception) -> StoreUnusable:
    """Turns what went wrong at the opening into one line, with what helps.

    Args:
        shown: the database, without secrets.
        error: one of `FAILURES`, or a `StoreError`.
    """
    text = text_of(error)
    for kind, remedy in _REMEDIES:
        if isinstance(error, kind) and not isinstance(error, StoreError):
            text = f"{text}: {remedy}" if str(error) else remedy
            break
    return StoreUnusable(f"cannot open the database {shown}: {text}")

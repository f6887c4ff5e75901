"""Structured logs on standard error, one line per event.

The commands ask for them by `configure_logs`. Inside somebody else's program nothing is
printed unless that program gives the loggers of `logging` a handler, as for any library.

What must never be in them: the contents of messages, and tokens. The libraries' own
lines below "warning" would have both, such as each header on the wire; they are left
out at any level. A traceback has no values of variables, and what failed in a callback
of the event loop is told without the arguments of that.
"""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import structlog

from hosting.damping import Damper
from hosting.signals import handling, named_signals

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("readable", "json")

OWN: Final = ("chat", "codec", "hosting", "proxy")
"""Packages whose events are logged at any level."""

# The first fields of a line.
_FIRST: Final = ("timestamp", "level", "logger", "event")
_IDS: Final = ("connection", "request_id", "client", "call", "method", "peer", "trace_id")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Returns the logger of a module: its events go to the logger of that name in `logging`.

    Args:
        name: the name of the module, in one of the packages of `OWN`.
    """
    top = logging.getLogger(name.partition(".")[0])
    if not top.handlers:
        # Else `logging` prints warnings by itself.
        top.addHandler(logging.NullHandler())
    wrapped = structlog.wrap_logger(logging.getLogger(name), wrapper_class=_Logger)
    return cast("structlog.stdlib.BoundLogger", wrapped)


class _Logger(structlog.stdlib.BoundLogger):
    """Has processors of its own where structlog's are not configured: those would print."""

    def __init__(
        self,
        logger: logging.Logger,
        processors: Iterable[structlog.typing.Processor],
        context: structlog.typing.Context,
    ) -> None:
        chosen = processors if structlog.is_configured() else _EMBEDDED
        super().__init__(logger, chosen, context)


log = get_logger(__name__)


def configure_logs(level: str, form: str = "readable") -> None:
    """Sends the logs of this process, libraries' included, to standard error.

    Args:
        level: the least severe level to print, one of `LEVELS`.
        form: how an event is written, one of `FORMATS`.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Damper())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *_writers(form),
            ],
        )
    )
    logging.getLogger().handlers[:] = [handler]
    # A client that asks for an unknown subprotocol is no reason for a warning.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    set_level(level)


def set_level(level: str) -> None:
    """Changes the least severe level to print.

    Args:
        level: one of `LEVELS`.
    """
    severity = logging.getLevelNamesMapping()[level.upper()]
    for name in OWN:
        logging.getLogger(name).setLevel(severity)
    logging.getLogger().setLevel(max(severity, logging.WARNING))


@contextmanager
def changing_level(level: str) -> Iterator[None]:
    """Changes the level on signals: SIGUSR1 to "debug", SIGUSR2 back.

    Args:
        level: the one that SIGUSR2 puts back.
    """
    changing = {"SIGUSR1": "debug", "SIGUSR2": level}

    def change(number: int) -> None:
        to = changing[signal.Signals(number).name]
        # Logged at the level at which it is visible, before or after.
        if to == level:
            log.info("log level changed", to=to)
        set_level(to)
        if to != level:
            log.info("log level changed", to=to)

    numbers = named_signals(*changing)
    try:
        with handling(numbers, change):
            yield
    finally:
        # The default action would end a process that is about to stop.
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def log_failure(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs a failure in an event loop. The loop's own line would show arguments of callbacks."""
    task = context.get("task") or context.get("future")
    name = {"task": task.get_name()} if isinstance(task, asyncio.Task) else {}
    event = "callback failed" if "handle" in context else context["message"]
    log.error(event, exc_info=context.get("exception"), **name)


def _as_text(
    _: object, __: str, event: structlog.typing.EventDict
) -> tuple[tuple[str], dict[str, Any]]:
    """An event as any handler of `logging` takes it: a text, and what was raised."""
    raised = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    return (_printable(None, "", _LOGFMT(None, "", _in_order(None, "", event))),), raised


def _writers(form: str) -> list[structlog.typing.Processor]:
    if form == "json":
        return [_in_order, structlog.processors.JSONRenderer(_to_json)]
    return [_in_order, _LOGFMT, _printable]


def _in_order(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = {name: event[name] for name in (*_FIRST, *_IDS) if name in event}
    return {**first, **event}


def _to_json(event: Any, **options: Any) -> str:
    # All of ASCII that does not print is escaped but this.
    return json.dumps(event, **options).replace("\x7f", "\\u007f")


def _printable(_: object, __: str, line: Any) -> str:
    """Escapes characters that a terminal would obey or hide."""
    text = str(line)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


_LOGFMT: Final = structlog.processors.LogfmtRenderer(bool_as_flag=False)

_EMBEDDED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    _as_text,
)

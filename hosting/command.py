"""The outer shell of a command: one clear line for every error at its start."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from hosting.logs import changing_level, configure_logs, log_failure
from hosting.tracing import spans
from hosting.tracing.setup import tracer_of_environment


class StartError(Exception):
    """The process cannot start; the text gives the reason in one line, for the operator."""


class ServiceFailed(Exception):
    """The process had to stop by itself; the text gives the reason in one line."""


def run_command(command: click.Command, name: str) -> NoReturn:
    """Runs a click command as a process, and exits.

    A wrong option ends with status 2, a `StartError` or `ServiceFailed` with status 1;
    each prints one line on standard error.

    Args:
        command: the command.
        name: the name to print before an error, such as ``python -m chat``.
    """
    try:
        status = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        _fail(name, error.format_message(), error.exit_code)
    except (StartError, ServiceFailed, ValueError) as error:
        _fail(name, str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def checking_options() -> Iterator[None]:
    """Turns the errors of settings into those of options.

    Raises:
        click.UsageError: a ValueError was raised; it has its text.
    """
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def run_service(
    main: Callable[[], Awaitable[None]], name: str, log_level: str, log_format: str
) -> None:
    """Runs a service until it ends, on uvloop where there is one.

    Args:
        main: starts the service and returns once it has stopped.
        name: its name in traces.
        log_level: one of `hosting.logs.LEVELS`.
        log_format: one of `hosting.logs.FORMATS`.
    """
    configure_logs(log_level, log_format)
    tracer = tracer_of_environment(name)
    _collect_less()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(log_failure)
        with changing_level(log_level), spans.using(tracer):
            await main()

    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(run())


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which is faster; asyncio's own where that cannot be had, as on Windows."""
    try:
        from uvloop import new_event_loop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return new_event_loop()


def _collect_less() -> None:
    """Looks for unreachable cycles less often than Python would by itself.

    Nearly everything is freed with its last reference. Each full collection would scan
    thousands of queued messages for nothing.
    """
    gc.collect()
    gc.freeze()  # imported modules stay
    gc.set_threshold(100_000, 20, 50)


def ready(line: str) -> None:
    """Prints the line that announces that a process is ready to serve."""
    click.echo(line)
    sys.stdout.flush()


def _fail(name: str, message: str, status: int) -> NoReturn:
    one_line = " ".join(message.split())
    # The text may hold control characters, which a terminal obeys.
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in one_line)
    click.echo(f"{name}: {shown}", err=True)
    sys.exit(status)

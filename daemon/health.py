"""Asks a process whether it is well, for what watches over it: ``python -m daemon.health``.

A gRPC server is asked by the standard health service (grpc.health.v1), an HTTP server
by a GET that must be answered with 200.
"""

from __future__ import annotations

import asyncio
import http.client
from time import monotonic
from typing import Final
from urllib.parse import SplitResult, urlsplit

import click
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from daemon.cli import StartError, run_command
from daemon.options import Options

_AGAIN_SECONDS: Final = 0.2
_options = Options("HEALTH")


class Unhealthy(Exception):
    """The answer was no, or none came; the text says which, for a person."""


@click.command(
    help="Check that a process serves, and end with status 0 if it does, else with 1. URL is"
    " grpc://HOST:PORT for the chat server, http://HOST:PORT/healthz for the proxy, or"
    " http://HOST:PORT/readyz for the proxy and the chat server behind it."
)
@click.argument("url", envvar="HEALTH_URL")
@_options.seconds("timeout", 3.0, "How long the answer may take.")
@_options.seconds("wait", 0.0, "How long to ask again until it is well.")
def command(url: str, timeout: float, wait: float) -> None:
    """Asks until the answer is yes, or the time is over."""
    address = split(url)
    over = monotonic() + wait
    try:
        asyncio.run(_ask_until(address, timeout, over))
    except Unhealthy as error:
        raise StartError(f"{url} {error}") from error


async def check(url: str, timeout: float) -> None:
    """Asks once.

    Args:
        url: ``grpc://HOST:PORT``, or ``http://HOST:PORT/PATH``.
        timeout: how long the answer may take, in seconds.

    Raises:
        Unhealthy: the answer was no, or none came.
        ValueError: this is no such URL.
    """
    await _ask(split(url), timeout)


async def _ask_until(address: SplitResult, timeout: float, over: float) -> None:
    while True:
        try:
            return await _ask(address, timeout)
        except Unhealthy:
            if monotonic() >= over:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


async def _ask(address: SplitResult, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            if address.scheme == "grpc":
                await _ask_grpc(address)
            else:
                await asyncio.to_thread(_ask_http, address, timeout)
    except TimeoutError:
        raise Unhealthy(f"gave no answer within {timeout:g} seconds") from None
    except GRPCError as error:
        raise Unhealthy(f"answered {error.status.name}: {error.message}") from error
    except (OSError, StreamTerminatedError) as error:
        raise Unhealthy(f"cannot be asked: {error}") from error
    except http.client.HTTPException as error:
        raise Unhealthy("gave an answer that is not HTTP") from error


async def _ask_grpc(address: SplitResult) -> None:
    async with Channel(address.hostname, address.port) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest())
    if answer.status != HealthCheckResponse.SERVING:
        name = HealthCheckResponse.ServingStatus.Name(answer.status)
        raise Unhealthy(f"answered {name}")


def _ask_http(address: SplitResult, timeout: float) -> None:
    connection = http.client.HTTPConnection(address.netloc, timeout=timeout)
    try:
        connection.request("GET", address.path or "/")
        answer = connection.getresponse()
        text = answer.read(200).decode(errors="replace")
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unhealthy(f"answered {answer.status}: {text}")


def split(url: str) -> SplitResult:
    """Splits the address of a process into its parts.

    Raises:
        ValueError: this is no such URL.
    """
    address = urlsplit(url)
    if address.scheme not in {"grpc", "http"} or not address.hostname or not address.port:
        raise ValueError(f"URL must be grpc://HOST:PORT or http://HOST:PORT/PATH, not {url!r}")
    return address


def main() -> None:
    """The console script ``chat-health``."""
    run_command(command, "chat-health")


if __name__ == "__main__":
    run_command(command, "python -m daemon.health")

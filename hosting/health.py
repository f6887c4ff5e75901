"""Checks the health of a process for a supervisor: ``python -m hosting.health``.

A gRPC server is asked by the standard health service (grpc.health.v1), an HTTP server
by a GET that must be answered with 200. With ``grpcs`` and ``https`` it is asked over TLS.
"""

import asyncio
import http.client
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from hosting.command import StartError, checking_options, run_command
from hosting.kinds import SECONDS, TEXT
from hosting.settings import Settings, SettingsCommand, build, option_of, part, setting, settings_of
from hosting.tls import Tls, TlsFiles, UnusableCertificate

_AGAIN_SECONDS: Final = 0.2
_SECURE: Final = ("grpcs", "https")
_SCHEMES: Final = ("grpc", "http", *_SECURE)


class Unhealthy(Exception):
    """The answer was no, or none came; the text says which, for the operator."""


@dataclass(frozen=True, slots=True)
class ShownFiles(TlsFiles):
    """Files for TLS with the process."""

    certificate: str = setting("", TEXT, "The client certificate for TLS, in PEM.")
    key: str = setting("", TEXT, "The private key of that certificate, in PEM.")
    authorities: str = setting("", TEXT, "The CA of the process for TLS, in PEM.", name="ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings(Settings):
    """Settings of a health check."""

    timeout: float = setting(3.0, SECONDS, "The time limit of one request.")
    wait: float = setting(0.0, SECONDS, "The time to retry until the process is healthy.")
    tls: TlsFiles = part(ShownFiles)


@click.command(
    cls=SettingsCommand,
    params=[option_of(each, "HEALTH") for each in settings_of(HealthSettings)],
    help="Check that a process is healthy, and exit with status 0 if so, else with 1. URL is"
    " grpc://HOST:PORT for the chat server, http://HOST:PORT/healthz for the proxy, or"
    " http://HOST:PORT/readyz for the proxy and the chat server behind it; over TLS, grpcs"
    " and https.",
)
@click.argument("url", envvar="HEALTH_URL")
def command(url: str, **values: Any) -> None:
    """Asks until the answer is yes, or the time is up."""
    with checking_options():
        address, settings = split(url), build(HealthSettings, values)
    over = monotonic() + settings.wait
    try:
        tls = Tls.client(settings.tls) if address.scheme in _SECURE else None
        asyncio.run(_ask_until(Question(address, settings.timeout, tls), over))
    except UnusableCertificate as error:
        raise StartError(str(error)) from error
    except Unhealthy as error:
        raise StartError(f"{url} {error}") from error


@dataclass(frozen=True, slots=True)
class Question:
    """One health check.

    Attributes:
        address: the URL, in its parts.
        timeout: the longest time for the answer, in seconds.
        tls: the TLS of this side, if it is used.
    """

    address: SplitResult
    timeout: float
    tls: Tls | None = None


async def check(url: str, timeout: float) -> None:
    """Asks once, without TLS.

    Args:
        url: ``grpc://HOST:PORT``, or ``http://HOST:PORT/PATH``.
        timeout: how long the answer may take, in seconds.

    Raises:
        Unhealthy: the answer was no, or none came.
        ValueError: this is no such URL.
    """
    await _ask(Question(split(url), timeout))


async def _ask_until(question: Question, over: float) -> None:
    while True:
        try:
            return await _ask(question)
        except Unhealthy:
            if monotonic() >= over:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


async def _ask(question: Question) -> None:
    try:
        async with asyncio.timeout(question.timeout):
            if question.address.scheme in {"grpc", "grpcs"}:
                await _ask_grpc(question)
            else:
                await asyncio.to_thread(_ask_http, question)
    except TimeoutError:
        raise Unhealthy(f"gave no answer within {question.timeout:g} seconds") from None
    except GRPCError as error:
        raise Unhealthy(f"answered {error.status.name}: {error.message}") from error
    except (OSError, StreamTerminatedError) as error:
        raise Unhealthy(f"cannot be asked: {error}") from error
    except http.client.HTTPException as error:
        raise Unhealthy("gave an answer that is not HTTP") from error


async def _ask_grpc(question: Question) -> None:
    address, tls = question.address, question.tls
    context = None if tls is None else tls.for_http2().context
    async with Channel(address.hostname, address.port, ssl=context) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest())
    if answer.status != HealthCheckResponse.SERVING:
        name = HealthCheckResponse.ServingStatus.Name(answer.status)
        raise Unhealthy(f"answered {name}")


def _ask_http(question: Question) -> None:
    address, timeout, tls = question.address, question.timeout, question.tls
    connection = (
        http.client.HTTPConnection(address.netloc, timeout=timeout)
        if tls is None
        else http.client.HTTPSConnection(address.netloc, timeout=timeout, context=tls.context)
    )
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
    if address.scheme not in _SCHEMES or not address.hostname or not address.port:
        raise ValueError(f"URL must be grpc://HOST:PORT or http://HOST:PORT/PATH, not {url!r}")
    return address


def main() -> None:
    """The console script ``chat-health``."""
    run_command(command, "chat-health")


if __name__ == "__main__":
    run_command(command, "python -m hosting.health")

"""TLS for listeners and for links, from files that may be replaced while in use.

At least TLS 1.2 (RFC 9325, section 3.1.1). A replaced certificate is good for
connections from then on; those that are open go on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS: Final = 5.0


class UnusableCertificate(Exception):
    """Certificates that cannot be used; the text is one line for an operator."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one side of a connection, in PEM; empty where there is none.

    Attributes:
        certificate: what it shows, with the chain up to a root.
        key: the private key of that.
        authorities: whose certificates it believes of the other side.
        prefix: what the names of the options begin with.
    """

    certificate: str = ""
    key: str = ""
    authorities: str = ""
    prefix: str = "tls"

    def __post_init__(self) -> None:
        """Checks that they go together.

        Raises:
            ValueError: they do not; the text names the options.
        """
        if bool(self.certificate) != bool(self.key):
            both = f"{self.prefix}-certificate and {self.prefix}-key"
            raise ValueError(f"{both} must be given together")

    def __bool__(self) -> bool:
        return bool(self.certificate or self.authorities)


@asynccontextmanager
async def kept_fresh(tls: Tls | None) -> AsyncIterator[None]:
    """Keeps the files of a side up to date while the context is open, if there are any."""
    task = None if tls is None else asyncio.create_task(tls.keep_fresh())
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


class Tls:
    """A context for one side, kept up to date.

    Args:
        context: what it is used with.
        files: what it was made from.
    """

    def __init__(self, context: ssl.SSLContext, files: TlsFiles) -> None:
        self.context = context
        self._files = files
        self._load()
        self._stamp = self._stat()

    @classmethod
    def server(cls, files: TlsFiles, *, certificate_required: bool = True) -> Tls:
        """Makes the side that listens.

        Args:
            files: with `authorities`, clients are asked for a certificate.
            certificate_required: whether one without is refused then.

        Raises:
            UnusableCertificate: a file cannot be read or used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.authorities:
            required = ssl.CERT_REQUIRED if certificate_required else ssl.CERT_OPTIONAL
            context.verify_mode = required
        return cls(context, files)

    @classmethod
    def client(cls, files: TlsFiles) -> Tls:
        """Makes the side that connects; without `authorities`, it believes the system's.

        Raises:
            UnusableCertificate: a file cannot be read or used.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(context, files)

    def for_http2(self) -> Tls:
        """Lets both sides agree on HTTP/2 (ALPN, RFC 9113, section 3.2)."""
        self.context.set_alpn_protocols(["h2"])
        return self

    async def keep_fresh(self) -> None:
        """Reads the files again whenever they were replaced, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Reads the files again if they were replaced."""
        try:
            stamp = self._stat()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._load()
            log.info("certificate read again", path=self._files.certificate)
        except (UnusableCertificate, OSError) as error:
            # What was loaded before stays in use.
            log.error("certificate unusable", reason=str(error))  # noqa: TRY400 - the text says it all

    def _load(self) -> None:
        files = self._files
        try:
            if files.certificate:
                self.context.load_cert_chain(files.certificate, files.key)
            if files.authorities:
                self.context.load_verify_locations(files.authorities)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(
                name for name in (files.certificate, files.key, files.authorities) if name
            )
            raise UnusableCertificate(f"cannot use the certificate {names}: {error}") from error

    def _stat(self) -> tuple[int, ...]:
        files = self._files
        stats = [Path(name).stat() for name in (files.certificate, files.key) if name]
        return tuple(value for stat in stats for value in (stat.st_mtime_ns, stat.st_ino))

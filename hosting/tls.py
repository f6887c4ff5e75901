"""TLS for listeners and for links, from files that may be replaced while in use.

At least TLS 1.2 (RFC 9325, section 3.1.1). A replaced certificate is good for
connections from then on; those that are open go on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hosting.logs import get_logger
from hosting.text import check_setting

log = get_logger(__name__)

_LOOK_AGAIN_SECONDS: Final = 5.0


class UnusableCertificate(Exception):
    """Certificates that cannot be used; the text is one line for an operator."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one side of a connection, in PEM; empty where there is none.

    Attributes:
        certificate: the certificate of this side, with the chain up to a root.
        key: its private key.
        authorities: the authorities trusted for certificates of the other side.
        prefix: the beginning of the names of the options.
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
        check_setting(f"{self.prefix}-certificate", self.certificate)
        check_setting(f"{self.prefix}-key", self.key)
        check_setting(f"{self.prefix} authorities", self.authorities)
        if bool(self.certificate) != bool(self.key):
            both = f"{self.prefix}-certificate and {self.prefix}-key"
            raise ValueError(f"{both} must be given together")

    def __bool__(self) -> bool:
        return bool(self.certificate or self.authorities)


@asynccontextmanager
async def kept_fresh(tls: Tls | None) -> AsyncIterator[None]:
    """Reloads replaced files while the context is open; does nothing without TLS."""
    task = None if tls is None else asyncio.create_task(tls.keep_fresh())
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


class _Replaceable(ssl.SSLContext):
    """Begins each handshake with the context of the moment.

    To load other files into a context that is in use is no way to replace them: of a
    certificate that does not belong to its key, it keeps neither; and it never forgets
    an authority, nor the sessions that one was good for.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See ssl; event loops begin a handshake by this."""
        return self.current.wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See ssl; and other libraries by this."""
        return self.current.wrap_socket(*args, **options)


class Tls:
    """A context for one side, kept up to date.

    Args:
        files: what it is made from.
        make: makes one without a certificate.

    Attributes:
        context: begins handshakes; it is never changed.

    Raises:
        UnusableCertificate: a file cannot be read or used.
    """

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._protocols: list[str] = []
        self._stamp: tuple[int, ...] = ()
        # The last failure that was logged.
        self._told: tuple[tuple[int, ...], str] | None = None
        # `current` decides the side for each handshake.
        self.context = _Replaceable(ssl.PROTOCOL_TLS_CLIENT)
        self._load()

    @classmethod
    def server(cls, files: TlsFiles, *, certificate_required: bool = True) -> Tls:
        """Makes the side that listens.

        Args:
            files: with `authorities`, clients are asked for a certificate.
            certificate_required: whether one without is refused then.

        Raises:
            UnusableCertificate: a file cannot be read or used.
        """

        def make(files: TlsFiles) -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if files.authorities:
                required = ssl.CERT_REQUIRED if certificate_required else ssl.CERT_OPTIONAL
                context.verify_mode = required
                context.load_verify_locations(files.authorities)
            return context

        return cls(files, make)

    @classmethod
    def client(cls, files: TlsFiles) -> Tls:
        """Makes the side that connects; without `authorities`, it believes the system's.

        Raises:
            UnusableCertificate: a file cannot be read or used.
        """
        # With authorities, the system's are not trusted.
        return cls(
            files, lambda files: ssl.create_default_context(cafile=files.authorities or None)
        )

    def for_http2(self) -> Tls:
        """Offers HTTP/2 in the handshake (ALPN, RFC 9113, section 3.2)."""
        self._protocols = ["h2"]
        self.context.current.set_alpn_protocols(self._protocols)
        return self

    async def keep_fresh(self) -> None:
        """Reloads the files whenever they are replaced, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Reloads the files if they were replaced; unusable ones change nothing.

        It never fails, and logs once for each change what is wrong.
        """
        stamp: tuple[int, ...] = ()
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._load()
                log.info("certificate read again", path=self._files.certificate)
            self._told = None
        except Exception as error:
            known = isinstance(error, UnusableCertificate | OSError)
            told = stamp, str(error) if known else repr(error)
            if told != self._told:
                self._told = told
                log.error("certificate unusable", reason=told[1], exc_info=None if known else error)  # noqa: TRY400 - of what is known, the text says it all

    def _load(self) -> None:
        files = self._files
        try:
            # First, so that files replaced meanwhile are read again, and files that fail.
            stamp = self._stat()
            context = self._make(files)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if files.certificate:
                context.load_cert_chain(files.certificate, files.key)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(
                name for name in (files.certificate, files.key, files.authorities) if name
            )
            raise UnusableCertificate(f"cannot use the certificate {names}: {error}") from error
        self._stamp = stamp
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        self.context.current = context

    def _stat(self) -> tuple[int, ...]:
        files = self._files
        names = (files.certificate, files.key, files.authorities)
        stats = [Path(name).stat() for name in names if name]
        return tuple(
            value
            for stat in stats
            # ctime also changes when a file becomes readable.
            for value in (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
        )

"""Certificates made on the spot, and contexts that trust them."""

import ssl
from pathlib import Path

import trustme

from hosting.tls import Tls, TlsFiles


class Authority:
    """A certificate authority, and the files of its certificates.

    Args:
        folder: a new folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.root = str(folder / "root.pem")
        self._ca.cert_pem.write_to_path(self.root)

    def files(self, name: str, *, believes: bool = False) -> TlsFiles:
        """Certifies a name, anew each time."""
        issued = self._ca.issue_cert(name, "127.0.0.1")
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        key.write_bytes(issued.private_key_pem.bytes())
        chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        return TlsFiles(str(chain), str(key), self.root if believes else "")

    def believing(self) -> ssl.SSLContext:
        """TLS context of a client without a certificate."""
        return Tls.client(TlsFiles(authorities=self.root)).for_http2().context

    def shown(self, name: str) -> ssl.SSLContext:
        """TLS context of a client with a certificate."""
        return Tls.client(self.files(name, believes=True)).for_http2().context

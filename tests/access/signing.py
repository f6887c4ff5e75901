"""Keys made on the spot, and tokens signed with them."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from chat.access.keyfile import KeyFile
from chat.access.tokens import TokenRules, TokenVerifier
from chat.core.rules import Limits, Rules

SECRET: Final = b"a secret that is long enough for HS256"


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key, and its forms.

    Attributes:
        algorithm: the JWS algorithm.
        private: the signing key.
        jwk: the verifying key as a JWK without a `kid`.
        pem: the same as PEM; a secret as it is.
    """

    algorithm: str
    private: Any
    jwk: dict[str, Any]
    pem: bytes

    def token(self, *, kid: str | None = None, **claims: Any) -> str:
        """Signs a token for ada, good for an hour and for all rooms; claims may be changed.

        A claim that is `None` is left out.
        """
        said = {
            "sub": "ada",
            "exp": int(time.time()) + 3600,
            "rooms": {"read": ["*"], "write": ["*"]},
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        headers = None if kid is None else {"kid": kid}
        return jwt.encode(said, self.private, self.algorithm, headers=headers)

    def named(self, kid: str) -> dict[str, Any]:
        """The JWK with a `kid`."""
        return {**self.jwk, "kid": kid}


def bearer(token: str | None) -> dict[str, str]:
    """The headers of a caller with a token, or without one."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def confused(signer: Signer, secret: bytes) -> str:
    """A token for ada signed by HS256 with the public key, under that key's `kid`."""
    claims = jwt.decode(signer.token(), options={"verify_signature": False})
    return forged(claims, {"alg": "HS256", "typ": "JWT", "kid": "one"}, secret)


def forged(
    claims: dict[str, Any], header: dict[str, Any] | None = None, secret: bytes | None = SECRET
) -> str:
    """A token of any content, signed by HS256 or not at all; PyJWT refuses to make some."""
    parts = ({"alg": "HS256"} if header is None else header, claims)
    body = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
    signature = b"" if secret is None else hmac.new(secret, body, hashlib.sha256).digest()
    return b".".join((body, _base64url(signature))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def verifier(path: Path, keys: str | bytes | None = None, **rules: Any) -> TokenVerifier:
    """Verifies tokens with the keys of a file; keys given are written to it first."""
    if keys is not None:
        path.write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    return TokenVerifier(KeyFile(path), TokenRules(**rules), Rules(Limits()))


def hs256(secret: bytes = SECRET) -> Signer:
    return Signer("HS256", secret, HMACAlgorithm.to_jwk(secret, as_dict=True), secret)


def rs256(bits: int = 2048) -> Signer:
    key = rsa.generate_private_key(65537, bits)
    jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return Signer("RS256", key, jwk, _pem(key))


def es256() -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return Signer("ES256", key, jwk, _pem(key))


def eddsa() -> Signer:
    key = ed25519.Ed25519PrivateKey.generate()
    jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return Signer("EdDSA", key, jwk, _pem(key))


def jwks(*keys: dict[str, Any]) -> str:
    """A JWK Set."""
    return json.dumps({"keys": list(keys)})


def _pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem

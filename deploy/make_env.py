"""Write ``.env`` for docker-compose.yml: passwords, Nessie's public key, and a token per role."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wap.access import Role

#: What the compose file wants that is nothing but random.
WORDS = (
    "POSTGRES_PASSWORD", "NESSIE_DB_PASSWORD", "TEMPORAL_DB_PASSWORD", "WAP_DB_PASSWORD",
    "S3_ADMIN_SECRET", "S3_ENGINEER_SECRET", "S3_AUDITOR_SECRET", "S3_CONSUMER_SECRET",
    "WAP_API_TOKEN", "WAP_API_AUDITOR_TOKEN",
    "DATAHUB_DB_PASSWORD", "DATAHUB_SECRET", "DATAHUB_UI_PASSWORD",
)  # fmt: skip
DAYS = 90
_DAY = 86_400


class Issuer:
    """Signs tokens as an identity provider does; the private key is kept nowhere."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        """As Nessie's ``quarkus.oidc.public-key`` wants it: PEM without its first and last line."""
        pem = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return "".join(pem.decode().split("\n")[1:-2])

    def token(self, role: str, *, days: float = DAYS, issuer: str = "wap") -> str:
        """A token for a role; ``days`` may be negative for one that has expired."""
        now = int(time.time())
        claims = {"sub": role, "upn": role, "groups": [role], "iss": issuer, "iat": now}
        return jwt.encode({**claims, "exp": now + int(days * _DAY)}, self._key, "RS256")


def variables(issuer: Issuer) -> dict[str, str]:
    """New values for everything that docker-compose.yml leaves open."""
    found = {name: secrets.token_urlsafe(24) for name in WORDS}
    found["LINEAGE_KIND"] = "file"
    found["NESSIE_PUBLIC_KEY"] = issuer.public_key
    found |= {f"NESSIE_{role.upper()}_TOKEN": issuer.token(role) for role in Role}
    return found


def main() -> None:
    """Write the file once; one that is there is kept, for the volumes hold its passwords."""
    path = Path(__file__).resolve().parents[1] / ".env"
    text = "".join(f"{name}={value}\n" for name, value in variables(Issuer()).items())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(".env is there already, and the volumes were made with its passwords: kept")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    print(f".env is written; its tokens hold for {DAYS} days")


if __name__ == "__main__":
    main()

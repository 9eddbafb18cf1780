"""Google's cloud on loopback: it exchanges the assertions of a service account for tokens, and serves whoever has one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from tests.fakes.cloud_http import Answer, Asked, cloud_on_loopback

EMAIL = "gateway@engines.iam.gserviceaccount.com"
PROJECT = "engines-42"


@dataclass
class FakeGoogle:
    """Tokens are `ya29.token-1` and on; `lasts` is how long the next one does. `answer` is what Vertex AI says."""

    url: str
    key: rsa.RSAPrivateKey
    answer: Callable[[Asked], Answer] = lambda _: Answer([b"{}"])
    asked: list[Asked] = field(default_factory=list)
    assertions: list[dict[str, object]] = field(default_factory=list)
    lasts: int = 3600
    refuses: bool = False
    gate: asyncio.Event | None = None  # tokens are given when it is set

    @property
    def token(self) -> str:
        """The last one that was given."""
        return f"ya29.token-{len(self.assertions)}-of-engines"

    def key_file(self, folder: Path) -> str:
        """The file that an administrator downloads for a service account."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        said = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }
        file = folder / "key.json"
        file.write_text(json.dumps(said))
        return str(file)

    async def answered(self, asked: Asked) -> Answer:
        return await self._given(asked) if asked.target == "/token" else self._vertex(asked)

    def _vertex(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answer(asked)

    async def _given(self, asked: Asked) -> Answer:
        assertion = parse_qs(asked.body.decode())["assertion"][0]
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.assertions.append(jwt.decode(assertion, certs=public, verify=False))  # type: ignore[no-untyped-call]  # google-auth has types in part
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses:
            return Answer([b'{"error":"invalid_grant","error_description":"no such account"}'], 400)
        return Answer([json.dumps({"access_token": self.token, "expires_in": self.lasts}).encode()])


@asynccontextmanager
async def fake_google() -> AsyncIterator[FakeGoogle]:
    google = FakeGoogle("", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    try:
        async with cloud_on_loopback(google.answered) as google.url:
            yield google
    finally:
        if google.gate is not None:
            google.gate.set()

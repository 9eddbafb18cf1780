"""A cloud of AWS's on loopback: Bedrock that checks every signature with botocore, and the service that gives roles.

What a signature covers is made again from the request that came, by botocore itself, with the keys that the test knows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.cloud_http import Answer, Asked, cloud_on_loopback

ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-west-2"
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), "
)


@dataclass
class FakeAws:
    """Answers what `answer` says; asks of roles are answered by itself. `keys` are those that it knows."""

    url: str
    keys: dict[str, Credentials] = field(default_factory=lambda: {ACCESS_KEY: Credentials(ACCESS_KEY, SECRET_KEY)})
    answer: Callable[[Asked], Answer] = lambda _: Answer([b"{}"])
    asked: list[Asked] = field(default_factory=list)
    roles: list[Asked] = field(default_factory=list)
    role_lasts: timedelta = timedelta(hours=1)
    role_refused: bool = False
    gate: asyncio.Event | None = None  # roles are given when it is set

    async def answered(self, asked: Asked) -> Answer:
        return await self._role(asked) if asked.target == "/" else self._bedrock(asked)

    def _bedrock(self, asked: Asked) -> Answer:
        checked = self._checked(asked)
        self.asked.append(checked)
        return self.answer(checked)

    def _checked(self, asked: Asked) -> Asked:
        """The request with what its signature is worth, made again by botocore."""
        found = _SCOPE.match(asked.headers.get("authorization", ""))
        if found is None or found[1] not in self.keys:
            return asked
        key, region, service, names = self.keys[found[1]], found[3], found[4], frozenset(found[5].split(";"))
        again = AWSRequest(asked.method, self.url + asked.target, data=asked.body)
        for name in names - {"x-amz-security-token"}:
            again.headers[name] = asked.headers[name]
        if key.token:
            again.headers["x-amz-security-token"] = key.token
        again.context["timestamp"] = asked.headers["x-amz-date"]
        signer = SigV4Auth(key, service, region)
        signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        valid = (
            asked.headers["authorization"].endswith(f"Signature={signature}")
            and (region, service) == (REGION, "bedrock")
            and (asked.headers.get("x-amz-security-token") or None) == key.token
            and {"host", "x-amz-date"} <= names
            and {name for name in asked.headers if name.startswith("x-amz-")} <= names
        )
        return Asked(asked.method, asked.target, asked.headers, asked.body, found[1], names, valid)

    async def _role(self, asked: Asked) -> Answer:
        self.roles.append(asked)
        if self.gate is not None:
            await self.gate.wait()
        if self.role_refused:
            text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
            return Answer([text.encode()], 403, [(b"content-type", b"text/xml")])
        number = len(self.roles)
        key = Credentials(f"ASIAROLE{number:012d}", f"secret-of-role-{number}", f"token-of-role-{number}")
        self.keys[key.access_key] = key
        until = (datetime.now(UTC) + self.role_lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = "".join(
            f"<{name}>{value}</{name}>"
            for name, value in (
                ("AccessKeyId", key.access_key),
                ("SecretAccessKey", key.secret_key),
                ("SessionToken", key.token),
                ("Expiration", until),
            )
        )
        text = f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{given}</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        return Answer([text.encode()], 200, [(b"content-type", b"text/xml")])

    def role_asked(self, number: int) -> dict[str, str]:
        """The parameters of one ask for a role."""
        return {name: values[0] for name, values in parse_qs(self.roles[number].body.decode()).items()}


@asynccontextmanager
async def fake_aws() -> AsyncIterator[FakeAws]:
    aws = FakeAws("")
    try:
        async with cloud_on_loopback(aws.answered) as aws.url:
            yield aws
    finally:
        if aws.gate is not None:
            aws.gate.set()

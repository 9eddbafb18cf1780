"""Credentials of AWS by botocore: static, from AWS's default chain, or of an assumed role; each request is signed anew.

What takes time (files, instance metadata, the call for a role) happens in a thread, once for all that wait for it.
Credentials that end are renewed a quarter of an hour before; while the old ones hold, nobody waits for the new.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    ReadOnlyCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from aibridge.credentials import Secret, masked
from aibridge.errors import Header, UpstreamUnreachable
from aibridge.ports import Proof, UpstreamRequest
from aibridge.renewal import Renewal

_LOG = logging.getLogger("aibridge")
_SERVICE = "bedrock"
_SESSION_NAME = "aibridge"  # in CloudTrail, as the session of an assumed role
# botocore's own would have a request wait for minutes: 60 s for each of five attempts.
_PATIENCE = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
_LEAST_LEFT = 60  # seconds that credentials must still hold when a request goes out with them
_LARGE = 256 * 1024  # bytes of a body whose hash takes long enough to be made elsewhere (about 0.2 ms)
# The proof is all that is signed besides the body and the type: what else a request carries passes other hands.
_SIGNED = b"content-type"


class AwsCredentials:
    """See `aibridge.ports.CredentialSource`. Nothing is looked for before the first request, or `find`.

    Args:
        region: where requests go, and where a role is asked for.
        access_key, secret_key, session_token: static credentials; without them AWS's default chain is asked
            (environment, shared files, container, instance).
        role_arn: a role to take on with these credentials; `external_id` is what its owner wants to hear.

    Raises: ValueError, whose text names what is missing.
    """

    def __init__(
        self,
        *,
        region: str,
        access_key: str | None = None,
        secret_key: Secret | None = None,
        session_token: Secret | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
    ) -> None:
        _check(access_key, secret_key, session_token, role_arn, external_id)
        self._region = region
        self._role = {"RoleArn": role_arn, "ExternalId": external_id}
        self._static = None
        self._credentials: Credentials | None = None
        self._renewal: Renewal[ReadOnlyCredentials] = Renewal(self._load, _tell)
        if access_key is not None and secret_key is not None:
            token = session_token.reveal() if session_token is not None else None
            self._static = Credentials(access_key, secret_key.reveal(), token)
            if role_arn is None:
                self._credentials = self._static
                self._renewal.value = self._static.get_frozen_credentials()

    @property
    def hint(self) -> str:
        frozen = self._renewal.value
        return masked(frozen.access_key) if frozen is not None else "..."

    @property
    def secrets(self) -> Sequence[str]:
        known = self._static.get_frozen_credentials() if self._static is not None else None
        return () if known is None else _secrets(known)

    async def proof(self, request: UpstreamRequest) -> Proof:
        frozen = await self._current()
        sign = partial(_signed, request, frozen, self._region)
        headers = sign() if len(request.body) < _LARGE else await asyncio.to_thread(sign)
        return Proof(headers, masked(frozen.access_key), _secrets(frozen))

    def find(self) -> None:
        """Looks where credentials are to come from, which may take seconds; nothing is asked of a role yet.

        Raises: LookupError, which says in words that there are none.
        """
        try:
            self._source()
        except _FAULTS as error:
            raise LookupError(_in_words(error)) from error

    async def _current(self) -> ReadOnlyCredentials:
        """Credentials that hold. Raises: UpstreamUnreachable."""
        try:
            return await self._renewal.current(due=self._ends_within(None), ended=self._ends_within(_LEAST_LEFT))
        except _FAULTS as error:
            raise UpstreamUnreachable(_in_words(error)) from None

    def _ends_within(self, seconds: int | None) -> bool:
        """Whether the credentials are to be renewed; None: by botocore's own measure."""
        credentials = self._credentials
        return isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed(seconds)

    # -- in a thread -----------------------------------------------------------------------------------

    def _load(self) -> ReadOnlyCredentials:
        if self._credentials is None:
            self._credentials = self._source()
        return self._credentials.get_frozen_credentials()

    def _source(self) -> Credentials:
        session = Session()
        found = self._static if self._static is not None else session.get_credentials()
        if found is None:
            raise _NoneFound
        if self._role["RoleArn"] is None:
            return found
        fetcher = AssumeRoleCredentialFetcher(
            partial(session.create_client, region_name=self._region, config=_PATIENCE),
            found,
            self._role["RoleArn"],
            extra_args=_said({"RoleSessionName": _SESSION_NAME, "ExternalId": self._role["ExternalId"]}),
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _tell(error: BaseException) -> None:
    """What AWS says names accounts and roles: for who runs the gateway, not for who uses it."""
    _LOG.warning("no AWS credentials", extra={"reason": (str(error) or _in_words(error))[:500]})


class _NoneFound(LookupError):
    """Nothing in the whole chain."""


_FAULTS = (BotoCoreError, ClientError, OSError, ValueError, _NoneFound)


def _check(
    access_key: str | None,
    secret_key: Secret | None,
    session_token: Secret | None,
    role_arn: str | None,
    external_id: str | None,
) -> None:
    def missing(setting: str, beside: str) -> ValueError:
        return ValueError(f"{setting} is missing beside {beside}")

    if access_key is not None and secret_key is None:
        raise missing("secret_key", "access_key")
    if access_key is None and (secret_key is not None or session_token is not None):
        raise missing("access_key", "secret_key" if secret_key is not None else "session_token")
    if external_id is not None and role_arn is None:
        raise missing("role_arn", "external_id")


def _signed(request: UpstreamRequest, credentials: ReadOnlyCredentials, region: str) -> list[Header]:
    """The headers that prove a request: Signature Version 4, last of all."""
    signed = {
        name.decode("ascii"): value.decode("latin-1") for name, value in request.headers if name.lower() == _SIGNED
    }
    prepared = AWSRequest(request.method, request.url, headers=signed, data=request.body)
    SigV4Auth(credentials, _SERVICE, region).add_auth(prepared)
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in prepared.headers.items()
        if name not in signed
    ]


def _secrets(credentials: ReadOnlyCredentials) -> tuple[str, ...]:
    return tuple(filter(None, (credentials.secret_key, credentials.token)))


def _said(options: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _in_words(error: BaseException) -> str:
    if isinstance(error, _NoneFound):
        return "no AWS credentials were found in the environment, the shared files, the container or the instance"
    if isinstance(error, ClientError):
        return f"AWS gave no credentials ({error.response.get('Error', {}).get('Code', 'unknown error')})"
    return f"AWS credentials cannot be had ({type(error).__name__})"

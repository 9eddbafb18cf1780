"""Access tokens of Google Cloud by google-auth: of a key file, or of the Application Default Credentials.

What takes time (files, metadata servers, exchanging tokens) happens in a thread, once for all that wait for it. Tokens are
renewed a few minutes before they end; while the old one holds, nobody waits for the new.
"""

from __future__ import annotations

import logging

import google.auth
from google.auth.credentials import Credentials, TokenState
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from aibridge.credentials import masked
from aibridge.errors import UpstreamUnreachable
from aibridge.ports import Proof, UpstreamRequest
from aibridge.renewal import Renewal

_LOG = logging.getLogger("aibridge")
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleCredentials:
    """See `aibridge.ports.CredentialSource`. Nothing is looked for before the first request, or `find`.

    `file` is a key of a service account; without it Google's own search decides (Application Default Credentials).
    """

    secrets: tuple[str, ...] = ()  # tokens are known only when they are there; each proof names its own

    def __init__(self, *, file: str | None = None) -> None:
        self._file = file
        self._credentials: Credentials | None = None
        self._renewal: Renewal[str] = Renewal(self._token, _tell)

    @property
    def hint(self) -> str:
        return self._hint() if self._renewal.value is not None else "..."

    async def proof(self, request: UpstreamRequest) -> Proof:  # noqa: ARG002  a token proves any request alike
        state = self._credentials.token_state if self._credentials is not None else TokenState.INVALID
        try:
            token = await self._renewal.current(due=state != TokenState.FRESH, ended=state == TokenState.INVALID)
        except _FAULTS as error:
            raise UpstreamUnreachable(_in_words(error)) from None
        return Proof([(b"authorization", b"Bearer " + token.encode("latin-1"))], self._hint(), (token,))

    def find(self) -> str | None:
        """Looks where credentials are to come from, which may take seconds; the project that they belong to, if they say.

        Raises: LookupError, which says in words that there are none.
        """
        try:
            self._credentials, project = self._found()
        except _FAULTS as error:
            raise LookupError(_in_words(error)) from error
        return project

    def _hint(self) -> str:
        """The mask of whose token it is; of the token where nobody is named."""
        named = getattr(self._credentials, "service_account_email", None) or getattr(
            self._credentials, "client_id", None
        )
        return masked(str(named or self._renewal.value or ""))

    # -- in a thread -----------------------------------------------------------------------------------

    def _token(self) -> str:
        if self._credentials is None:
            self._credentials, _ = self._found()
        self._credentials.refresh(Request())  # type: ignore[no-untyped-call]  # google-auth has types in part
        return str(self._credentials.token)

    def _found(self) -> tuple[Credentials, str | None]:
        if self._file is None:
            return google.auth.default(scopes=_SCOPES)
        found = service_account.Credentials.from_service_account_file(self._file, scopes=_SCOPES)  # type: ignore[no-untyped-call]  # as above
        return found, found.project_id


_FAULTS = (GoogleAuthError, OSError, ValueError)


def _tell(error: BaseException) -> None:
    """What Google says names accounts: for who runs the gateway, not for who uses it."""
    _LOG.warning("no Google credentials", extra={"reason": str(error)[:500]})


def _in_words(error: BaseException) -> str:
    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        return "no Google credentials were found (GOOGLE_APPLICATION_CREDENTIALS, gcloud's, or the machine's own)"
    return f"Google credentials cannot be had ({type(error).__name__})"

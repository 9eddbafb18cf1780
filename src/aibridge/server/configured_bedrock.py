"""A provider on Bedrock out of its table: what is missing is named at the start, before the first request needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibridge.credentials import Secret
from aibridge.providers import Provider
from aibridge.providers.bedrock import bedrock
from aibridge.server.config.schema import Bedrock
from aibridge.server.config.values import resolved

if TYPE_CHECKING:
    from aibridge.aws import AwsCredentials

_REGION_IN_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_APP_ID_VARIABLE = "AWS_SDK_UA_APP_ID"


def configured_bedrock(
    table: Bedrock,
    name: str,
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
    base: Path,
    *,
    asked_for: bool,
) -> Provider:
    """The provider. Without `asked_for` (it comes from AWS's own variables) it may lack models and credentials.

    Raises: ValueError, whose text names the setting that is missing or wrong. Unresolved.
    """
    region = _region(table, environ)
    if asked_for and not (table.model or table.small_fast_model or table.models):
        raise ValueError("model is missing; set model and small_fast_model, or the table models")
    enabled = bool(settings.get("enabled", True))  # what is switched off may lack its credentials
    credentials = _credentials(table if enabled else Bedrock(), region, environ, base)
    if asked_for and enabled and table.access_key is None:
        try:
            credentials.find()
        except LookupError as error:
            raise ValueError(f"access_key is missing: {error}") from None
    return bedrock(
        credentials=credentials,
        region=region,
        name=name,
        base_url=table.base_url,
        model=table.model,
        small_fast_model=table.small_fast_model,
        models=table.models,
        partner_id=table.partner_id,
        app_id=environ.get(_APP_ID_VARIABLE) or None,
        **settings,
    )


def _region(table: Bedrock, environ: Mapping[str, str]) -> str:
    found = _REGION_IN_HOST.search(table.base_url or "")
    in_host = found[1] if found is not None else None
    region: str | None = table.region or in_host or next(filter(None, map(environ.get, _REGION_VARIABLES)), None)
    if region is None:
        raise ValueError(f"region is missing, and so is {_REGION_VARIABLES[0]} in the environment")
    return region


def _credentials(table: Bedrock, region: str, environ: Mapping[str, str], base: Path) -> AwsCredentials:
    try:
        from aibridge.aws import AwsCredentials  # noqa: PLC0415  only who uses Bedrock installs botocore
    except ModuleNotFoundError:
        raise ValueError("botocore is not installed; the extra aibridge[bedrock] brings it") from None
    access_key = _secret(table.access_key, environ, base)
    return AwsCredentials(
        region=region,
        access_key=access_key.reveal() if access_key is not None else None,
        secret_key=_secret(table.secret_key, environ, base),
        session_token=_secret(table.session_token, environ, base),
        role_arn=table.role_arn,
        external_id=table.external_id,
    )


def _secret(reference: str | None, environ: Mapping[str, str], base: Path) -> Secret | None:
    return None if reference is None else resolved(reference, environ, base)

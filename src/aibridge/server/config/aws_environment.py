"""What the environment says of AWS to whoever uses it: enough for a provider on Bedrock, or nothing.

The credentials themselves stay where they are: AWS's default chain reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from aibridge.providers.bedrock import REGION

_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
# https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def bedrock_of(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[tuple[str, ...], str]] | None:
    """A table of a provider, and which variable each of its settings is from. None: not enough is said, or installed."""
    region = next((variable for variable in _REGION if REGION.fullmatch(environ.get(variable, ""))), None)
    if region is None or not any(environ.get(variable) for variable in _CREDENTIALS) or find_spec("botocore") is None:
        return None
    table = {"type": "anthropic", "name": "bedrock", "bedrock": {"region": environ[region]}}
    return table, {("bedrock", "region"): region}

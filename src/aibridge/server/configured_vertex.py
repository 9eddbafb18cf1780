"""A provider on Vertex AI out of its table: what is missing is named at the start, before the first request needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aibridge.providers import Provider
from aibridge.providers.vertex import vertex
from aibridge.server.config.schema import Vertex

_PROJECT = ("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
_REGION = ("CLOUD_ML_REGION",)


def configured_vertex(
    table: Vertex, name: str, settings: Mapping[str, Any], environ: Mapping[str, str], base: Path
) -> Provider:
    """Raises: ValueError, whose text names the setting that is missing or wrong."""
    try:
        from aibridge.google_cloud import GoogleCredentials  # noqa: PLC0415  only who uses Vertex installs google-auth
    except ModuleNotFoundError:
        raise ValueError("google-auth is not installed; the extra aibridge[vertex] brings it") from None
    file = None if table.credentials_file is None else str(base / Path(table.credentials_file).expanduser())
    credentials = GoogleCredentials(file=file)
    owner = None
    if settings.get("enabled", True):  # what is switched off may lack its credentials
        try:
            owner = credentials.find()
        except LookupError as error:
            raise ValueError(f"credentials_file is missing or wrong: {error}") from None
    return vertex(
        credentials=credentials,
        project=_said("project", table.project or _of(_PROJECT, environ) or owner, _PROJECT[0]),
        region=_said("region", table.region or _of(_REGION, environ), _REGION[0]),
        name=name,
        base_url=table.base_url,
        model=table.model,
        small_fast_model=table.small_fast_model,
        models=table.models,
        **settings,
    )


def _of(variables: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next(filter(None, map(environ.get, variables)), None)


def _said(setting: str, value: str | None, variable: str) -> str:
    if not value:
        raise ValueError(f"{setting} is missing, and so is {variable} in the environment")
    return value

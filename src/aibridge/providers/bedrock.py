"""Claude on AWS: an anthropic provider whose requests go to Bedrock, signed with the organisation's AWS credentials.

Nobody brings a key of their own, and no identifier of a person is sent: Bedrock refuses the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Unpack

from aibridge.ports import CredentialSource
from aibridge.providers.base import Provider, Settings
from aibridge.providers.bedrock_answer import bedrock_answer
from aibridge.providers.bedrock_request import bedrock_request
from aibridge.providers.claude_platform import ConfiguredModels, claude_provider
from aibridge.providers.platform import Platform

REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")
_APP_ID = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z/-]{1,200}")  # a product's version in a User-Agent, or a path of them


def bedrock(
    *,
    credentials: CredentialSource,
    region: str,
    name: str = "bedrock",
    base_url: str | None = None,
    model: str | None = None,
    small_fast_model: str | None = None,
    models: Mapping[str, str] = MappingProxyType({}),
    partner_id: str | None = None,
    app_id: str | None = None,
    **settings: Unpack[Settings],
) -> Provider:
    """Claude on Bedrock.

    Args:
        credentials: sign the requests (`aibridge.aws.AwsCredentials`).
        region: where the models run.
        name: the provider's name in paths.
        base_url: another address than the region's own, such as a VPC endpoint.
        model: the model or inference profile that is asked in place of whatever a client names.
        small_fast_model: the same for names with `haiku` in them.
        models: a client's name for a model -> the model that is asked; looked at first.
        partner_id: the deployment's AWS Partner Revenue Measurement string (`APN_1.1%2Fpc_<product code>%24`).
        app_id: what AWS's SDKs call the application's id (`AWS_SDK_UA_APP_ID`); sent beside `partner_id`.
        settings: see `aibridge.providers.base.Settings`; `allow_byok` and `upstream_user` have nothing to say here.

    Raises: ValueError, whose text names the setting that is missing or wrong.
    """
    _check(name, region, model, small_fast_model, models, {"partner_id": partner_id, "app_id": app_id})
    address = base_url or f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    configured = ConfiguredModels(models, model, small_fast_model)
    app_ids = [*([f"app/{app_id}"] if app_id else []), *([f"sdk-ua-app-id/{partner_id}"] if partner_id else [])]
    platform = Platform(
        name="bedrock",
        credentials=credentials,
        model_of=configured.model_of,
        outgoing=lambda request, _: bedrock_request(
            request, base_url=address.rstrip("/"), model_of=configured.model_of, app_ids=app_ids
        ),
        incoming=bedrock_answer,
        models=configured.names,
    )
    return claude_provider(platform, settings, name=name, base_url=address, counting="not_there", attributed=False)


def _check(
    name: str,
    region: str,
    model: str | None,
    small_fast_model: str | None,
    models: Mapping[str, str],
    app_ids: Mapping[str, str | None],
) -> None:
    def refused(setting: str, why: str) -> ValueError:
        return ValueError(f"{setting} of provider {name!r}: {why}")

    if not REGION.fullmatch(region):
        raise refused("region", "an AWS region such as us-east-1")
    if bool(model) != bool(small_fast_model) and not models:
        missing, other = ("small_fast_model", "model") if model else ("model", "small_fast_model")
        raise refused(missing, f"is missing beside {other}; or name the models in a table `models`")
    for asked, mapped in models.items():
        if not asked or not mapped:
            raise refused("models", "a name of a model for each name that clients use")
    for setting, value in app_ids.items():
        if value is not None and not _APP_ID.fullmatch(value):
            raise refused(setting, "up to 200 characters of a User-Agent's word, such as APN_1.1%2Fpc_1a2b3c%24")

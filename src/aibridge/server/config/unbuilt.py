"""Settings that parse but whose feature is not built yet: each that is set is said once, or refuses the start.

Settings that contradict each other refuse it too. Refused is what would make the gateway do something else than was asked for (sign-in by others), or keep what
was to be kept from the records (redaction); the rest is only left undone, and warned about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from aibridge.server.config.layers import At
from aibridge.server.config.schema import ProviderTable, Settings

SQLITE = "sqlite:///"
_LATER = "is not built yet and has no effect"
_SINGLE: dict[tuple[str, str], str] = {
    ("database", "retention"): "deleting old records",
    ("database", "durability"): "PostgreSQL",
}


def refusals(settings: Settings) -> Iterator[tuple[At, str]]:
    """What cannot be served as configured: the setting, and what is allowed."""
    url = settings.database.url
    if url is not None and (not url.startswith(SQLITE) or url in (SQLITE, f"{SQLITE}:memory:")):
        yield ("database", "url"), "must be sqlite:///PATH (PostgreSQL is not built yet)"
    modes = settings.auth.modes
    if "key" not in modes and "oidc" not in modes:
        yield ("auth", "modes"), 'must contain "key" or "oidc" (the other modes are not built yet)'
    if "oidc" in modes and settings.auth.oidc is None:
        yield ("auth", "modes"), 'must not contain "oidc" without auth.oidc.issuer and auth.oidc.audience'
    if settings.recording.redact:
        # Started all the same, the gateway would store what somebody believes is cut out.
        keep_none = "set prompts, tool_arguments and thoughts in [recording] to false to keep no content"
        yield ("recording", "redact"), f"is not built yet; remove it, or {keep_none}"
    recording = settings.recording
    if settings.dumps.folder and not (recording.prompts and recording.tool_arguments and recording.thoughts):
        # A dump holds all of it.
        yield ("dumps", "folder"), "must not be set while [recording] keeps no prompts, tool_arguments or thoughts"
    for index, server in enumerate(settings.mcp_servers):
        if server.auth == "caller" and "oidc" not in settings.auth.modes:
            # A key of ours, or a provider's, is nothing that another server may see.
            yield ("mcp_servers", index, "auth"), 'must not be "caller" without the auth mode "oidc"'
    for index, provider in enumerate(settings.providers):
        yield from _beside_platforms(index, provider)


def _beside_platforms(index: int, provider: ProviderTable) -> Iterator[tuple[At, str]]:
    """What a provider on a cloud has elsewhere, or not at all."""
    platforms = {"bedrock": provider.bedrock, "vertex": provider.vertex, "azure": provider.azure}
    named = [name for name, table in platforms.items() if table is not None]
    if len(named) > 1:
        yield ("providers", index, named[1]), f"must not be set beside {named[0]}; write a second provider"
    for name in (each for each in named if each != "azure"):  # which has keys, and a base_url
        if provider.type != "anthropic":
            yield ("providers", index, name), "only a provider of type anthropic can be on this platform"
        if provider.keys:
            yield ("providers", index, "keys"), f"must not be set beside {name}, which has credentials of its own"
        if provider.models:
            yield ("providers", index, "models"), f"must not be set beside {name}; set {name}.models"
        if provider.base_url is not None:
            yield ("providers", index, "base_url"), f"must not be set beside {name}; set {name}.base_url"


def warnings(settings: Settings, said: Collection[At], foreign: Iterable[str]) -> Iterator[str]:
    """One line for each setting that was given and changes nothing; `foreign` are variables of another gateway."""
    for at, feature in _SINGLE.items():
        if at in said:
            yield f"{'.'.join(at)} {_LATER} ({feature})"
    if settings.auth.oidc is not None and "oidc" not in settings.auth.modes:
        yield 'auth.oidc has no effect: auth.modes does not contain "oidc"'
    for mode in ("header", "coder"):
        if mode in settings.auth.modes or any(at[:2] == ("auth", mode) for at in said):
            yield f"auth mode {mode!r} {_LATER}"
    yield from (f"{variable} {_LATER}" for variable in foreign)

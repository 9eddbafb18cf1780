"""Who may ask for which models, out of the configuration."""

from __future__ import annotations

from aibridge.model_names import ModelRules
from aibridge.server.config import Configuration, Wrong


def configured_models(configuration: Configuration) -> ModelRules | None:
    """None: everybody may ask for every model. Raises: Wrong."""
    allow = configuration.settings.models.allow
    if not allow:
        return None
    try:
        return ModelRules(allow)
    except ValueError as error:
        raise Wrong(f"{configuration.place(('models', 'allow'))}: must be {error}") from None

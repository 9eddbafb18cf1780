"""The models that the simulated provider lists, in each provider's own list shape."""

from dataclasses import dataclass
from typing import Literal

from aibridge.server.demo.simulator.errors import Failure, Shape
from aibridge.server.demo.simulator.json_values import JsonObject

ListShape = Literal["anthropic", "openai", "copilot"]


@dataclass(frozen=True, slots=True)
class Model:
    """One listed model. Any other name is answered too: the list is only what a client is shown."""

    id: str
    name: str
    created: int
    created_at: str
    maker: Shape


_MODELS = (
    Model("claude-opus-5-5", "Claude Opus 5.5 (simulated)", 1788220800, "2026-09-01T00:00:00Z", "anthropic"),
    Model("claude-sonnet-5", "Claude Sonnet 5 (simulated)", 1780272000, "2026-06-01T00:00:00Z", "anthropic"),
    Model("claude-haiku-4-5", "Claude Haiku 4.5 (simulated)", 1759276800, "2025-10-01T00:00:00Z", "anthropic"),
    Model("gpt-5.4", "GPT-5.4 (simulated)", 1772323200, "2026-03-01T00:00:00Z", "openai"),
    Model("gpt-5.4-nano", "GPT-5.4 nano (simulated)", 1772323200, "2026-03-01T00:00:00Z", "openai"),
)


def model_list(shape: ListShape) -> JsonObject:
    if shape == "anthropic":
        data = [_anthropic(model) for model in _MODELS if model.maker == "anthropic"]
        return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
    if shape == "openai":
        return {"object": "list", "data": [_openai(model) for model in _MODELS if model.maker == "openai"]}
    return {"object": "list", "data": [_copilot(model) for model in _MODELS]}


def one_model(shape: ListShape, model_id: str) -> JsonObject:
    worded = {"anthropic": _anthropic, "openai": _openai, "copilot": _copilot}[shape]
    for model in _MODELS:
        if model.id == model_id and shape in {"copilot", model.maker}:
            return worded(model)
    raise Failure(404, f"The model '{model_id}' does not exist (in the simulator's list).", code="model_not_found")


def _anthropic(model: Model) -> JsonObject:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": model.created_at,
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


def _openai(model: Model) -> JsonObject:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": "simulator"}


def _copilot(model: Model) -> JsonObject:
    endpoints = ["/v1/messages"] if model.maker == "anthropic" else ["/chat/completions", "/responses"]
    return {
        "id": model.id,
        "object": "model",
        "name": model.name,
        "vendor": model.maker,
        "version": model.id,
        "model_picker_enabled": True,
        "preview": False,
        "capabilities": {"type": "chat", "family": model.id, "limits": {"max_prompt_tokens": 200_000}},
        "supported_endpoints": endpoints,
    }

"""The doors of an interception in one value. All that begin under one configuration share it: nothing of a request is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from aibridge.asking import ProviderStates
from aibridge.credentials import Scrubber
from aibridge.interception_log import Fail
from aibridge.model_names import ModelRules
from aibridge.offers import Offering
from aibridge.ports import Clock, ConversationStore, Ids, Observer, Recorder, Upstream
from aibridge.unobserved import UNOBSERVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What an interception talks to, and the few settings that it follows."""

    upstream: Upstream
    recorder: Recorder
    conversations: ConversationStore
    clock: Clock
    ids: Ids
    scrubber: Scrubber
    attribution_key: bytes = field(repr=False)
    offering: Offering | None = None
    models: ModelRules | None = None
    observer: Observer = UNOBSERVED
    states: ProviderStates | None = None
    fail: Fail = "closed"
    recording_deadline: float = 5.0  # seconds that the provider, or the last event, waits for its record

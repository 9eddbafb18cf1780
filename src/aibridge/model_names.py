"""What models are asked as, and who may ask for which. Values: names, and patterns in which `*` stands for any characters.

The rule: an exact name is stronger than a pattern, and of patterns the first that fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from aibridge.actor import Actor

EVERYBODY_ELSE = "*"


@dataclass(frozen=True, slots=True)
class ModelMap:
    """Aliases: a name or pattern -> the model that is asked. Raises: ValueError, for a name that is empty."""

    names: Mapping[str, str] = field(default_factory=dict)
    _patterns: tuple[tuple[re.Pattern[str], str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not all(asked and model for asked, model in self.names.items()):
            raise ValueError("a name of a model for each name that clients use")
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))
        patterns = tuple((_pattern([asked]), model) for asked, model in self.names.items() if "*" in asked)
        object.__setattr__(self, "_patterns", patterns)

    def model_of(self, asked: str) -> str:
        exact = self.names.get(asked)
        if exact is not None:
            return exact
        return next((model for pattern, model in self._patterns if pattern.fullmatch(asked)), asked)


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Which models people may ask for: those that fit one of the patterns.

    By group, where `allow` is a mapping (`"*"`: people in none of the groups; without it they may ask for all). Who is in
    several groups may ask for what one of them may. Raises: ValueError, for a pattern that is empty.
    """

    allow: Sequence[str] | Mapping[str, Sequence[str]]
    _allowed: Mapping[str, re.Pattern[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_group = self.allow if isinstance(self.allow, Mapping) else {EVERYBODY_ELSE: self.allow}
        if not all(pattern for patterns in by_group.values() for pattern in patterns):
            raise ValueError("names of models, or patterns with * in them")
        allowed = {group: _pattern(patterns) for group, patterns in by_group.items()}
        object.__setattr__(self, "_allowed", MappingProxyType(allowed))

    def allows(self, model: str, actor: Actor) -> bool:
        """Whether this person may ask for the model, by the name that the provider is asked by."""
        allowed = self._allowed
        of_actor = [allowed[group] for group in actor.groups if group in allowed and group != EVERYBODY_ELSE]
        if not of_actor:
            if EVERYBODY_ELSE not in allowed:
                return True
            of_actor = [allowed[EVERYBODY_ELSE]]
        return any(pattern.fullmatch(model) for pattern in of_actor)


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Fits what one of the names fits; nothing, where there is none."""
    texts = ["[^\0]*".join(map(re.escape, name.split("*"))) for name in names]
    return re.compile("|".join(f"(?:{text})" for text in texts) if texts else "(?!)")

"""Aliases of models and the lists of those that people may use, as values."""

import pytest

from aibridge.actor import Actor
from aibridge.model_names import ModelMap, ModelRules


def actor(*groups: str) -> Actor:
    return Actor(id="1", username="ada", groups=groups)


def test_an_exact_name_is_stronger_than_a_pattern_and_of_patterns_the_first_that_fits() -> None:
    models = ModelMap({"fast-*": "small", "*": "large", "fast-one": "tiny", "a.b": "dotted"})

    assert [models.model_of(name) for name in ("fast-one", "fast-two", "other", "a.b", "axb")] == [
        "tiny", "small", "large", "dotted", "large",
    ]  # fmt: skip


def test_a_name_that_nothing_is_said_of_stays() -> None:
    assert ModelMap({"fast": "small"}).model_of("fastest") == "fastest"


def test_what_a_model_is_mapped_to_is_not_mapped_again() -> None:
    assert ModelMap({"a": "b", "b": "c"}).model_of("a") == "b"


@pytest.mark.parametrize("names", [{"": "x"}, {"x": ""}])
def test_an_empty_name_is_refused(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a name of a model"):
        ModelMap(names)


def test_a_list_is_for_everybody() -> None:
    rules = ModelRules(["claude-haiku-*", "gpt-5"])

    assert rules.allows("claude-haiku-4-5", actor())
    assert rules.allows("gpt-5", actor("interns"))
    assert not rules.allows("gpt-5-pro", actor())
    assert not rules.allows("my-claude-haiku-4", actor())
    assert not rules.allows("GPT-5", actor())
    assert not rules.allows("claude-haiku-\0", actor())


def test_groups_have_lists_of_their_own_and_whoever_is_in_several_may_use_what_one_of_them_may() -> None:
    rules = ModelRules({"interns": ["*-mini"], "research": ["o*"], "*": ["gpt-*"], "nobody": []})

    assert [rules.allows("gpt-5-mini", who) for who in (actor("interns"), actor("nobody"), actor())] == [
        True, False, True,
    ]  # fmt: skip
    assert not rules.allows("gpt-5", actor("interns"))
    assert rules.allows("o3", actor("interns", "research"))
    assert not rules.allows("o3", actor("others"))
    assert rules.allows("gpt-5", actor("*"))  # no name of a group


def test_without_a_word_on_everybody_else_they_may_use_all() -> None:
    assert ModelRules({"interns": []}).allows("anything", actor("staff"))


@pytest.mark.parametrize("allow", [[""], {"interns": [""]}])
def test_an_empty_pattern_is_refused(allow: list[str] | dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="names of models"):
        ModelRules(allow)

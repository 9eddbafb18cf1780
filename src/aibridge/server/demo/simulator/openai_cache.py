"""OpenAI's automatic prompt cache, as far as usage shows it.

Prompts from 1,024 tokens on are cached in steps of 128 (https://platform.openai.com/docs/guides/prompt-caching).
"""

_SMALLEST = 1024
_STEP = 128


def cached_tokens(total: int, known: int) -> tuple[int, int]:
    """How many of ``total`` input tokens were read from the cache and how many written to it, when the first ``known``
    were part of an earlier request of the conversation.
    """
    if total < _SMALLEST:
        return 0, 0
    read = min(known, total) // _STEP * _STEP
    return read, (total - read) // _STEP * _STEP

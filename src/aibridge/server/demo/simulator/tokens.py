"""Count tokens: about four bytes each, so that a longer text always costs more, and the same text the same."""

BYTES_A_TOKEN = 4


def tokens(text: str | bytes) -> int:
    size = len(text if isinstance(text, bytes) else text.encode())
    return tokens_of_size(size)


def tokens_of_size(size: int) -> int:
    return -(-size // BYTES_A_TOKEN)


def cut_to_tokens(text: str, limit: int) -> str:
    """As much of a text as the limit allows, without half a character."""
    return text.encode()[: limit * BYTES_A_TOKEN].decode(errors="ignore")


def pieces(text: str, size: int = 12) -> list[str]:
    """A text in the pieces in which a model would stream it; joined again they are the text."""
    return [text[start : start + size] for start in range(0, len(text), size)]

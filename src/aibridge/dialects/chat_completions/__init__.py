"""OpenAI's Chat Completions API (https://platform.openai.com/docs/api-reference/chat), and what speaks it."""

from aibridge.dialects.base import Dialect
from aibridge.dialects.chat_completions.errors import error_event
from aibridge.dialects.chat_completions.request import parse
from aibridge.dialects.openai_errors import error_body, read_error

CHAT_COMPLETIONS = Dialect(
    name="chat_completions",
    parse=parse,
    error_body=error_body,
    error_event=error_event,
    read_error=read_error,
    identifier_limit=64,
    keepalive=b": keep-alive\n\n",
)

"""Anthropic's Messages API (https://docs.claude.com/en/api/messages)."""

from aibridge.dialects.base import Dialect
from aibridge.dialects.messages.errors import error_body, error_event, read_error
from aibridge.dialects.messages.request import parse

MESSAGES = Dialect(
    name="messages",
    parse=parse,
    error_body=error_body,
    error_event=error_event,
    read_error=read_error,
    identifier_limit=256,
    keepalive=b'event: ping\ndata: {"type": "ping"}\n\n',
)

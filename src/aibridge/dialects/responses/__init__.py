"""OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses).

Two values, because one endpoint of the API takes less than the other: `/responses/compact` answers an unknown
parameter with a 400, and `safety_identifier` is unknown to it.
"""

from dataclasses import replace

from aibridge.dialects.base import Dialect
from aibridge.dialects.openai_errors import error_body, read_error
from aibridge.dialects.responses.errors import error_event
from aibridge.dialects.responses.request import parse, parse_compaction

RESPONSES = Dialect(
    name="responses",
    parse=parse,
    error_body=error_body,
    error_event=error_event,
    read_error=read_error,
    identifier_limit=64,
    keepalive=b": keep-alive\n\n",
)

RESPONSES_COMPACT = replace(RESPONSES, parse=parse_compaction)

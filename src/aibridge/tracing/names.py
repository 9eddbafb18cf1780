"""Every name that a span or an attribute has, in one file: those of the GenAI conventions still move.

The GenAI names are those of OpenTelemetry's own repository for them (semantic-conventions-genai), which the constants
of the Python packages follow later: `gen_ai.usage.cache_write.input_tokens` was `cache_creation` until 2026.
"""

from __future__ import annotations

from typing import Final

# -- spans ---------------------------------------------------------------------------------------------
INTERCEPT: Final = "Intercept"
CREATE_INTERCEPTOR: Final = "Intercept.CreateInterceptor"
RECORD_INTERCEPTION: Final = "Intercept.RecordInterception"
PROCESS_REQUEST: Final = "Intercept.ProcessRequest"
UPSTREAM: Final = "Intercept.ProcessRequest.Upstream"
TOOL_CALL: Final = "Intercept.ProcessRequest.ToolCall"
RECORD_PROMPT_USAGE: Final = "Intercept.RecordPromptUsage"
RECORD_TOKEN_USAGE: Final = "Intercept.RecordTokenUsage"  # noqa: S105  a name, no password
RECORD_TOOL_USAGE: Final = "Intercept.RecordToolUsage"
RECORD_MODEL_THOUGHT: Final = "Intercept.RecordModelThought"
RECORD_INTERCEPTION_ENDED: Final = "Intercept.RecordInterceptionEnded"
PASSTHROUGH: Final = "Passthrough"
TOOLS: Final = "ServerProxyManager.Init"
CONNECT: Final = "StreamableHTTPServerProxy.Init"
LIST: Final = "StreamableHTTPServerProxy.Init.fetchTools"

# -- attributes of our own -----------------------------------------------------------------------------
INTERCEPTION_ID: Final = "interception_id"
USER_ID: Final = "user_id"
ACTOR_ID: Final = "actor_id"
PROVIDER: Final = "provider"
MODEL: Final = "model"
REQUESTED_MODEL: Final = "requested_model"
STREAMING: Final = "streaming"
REQUEST_PATH: Final = "request_path"
STATE: Final = "state"
AWS_BEDROCK: Final = "aws_bedrock"
CLIENT: Final = "client"
TOOL_SERVER: Final = "mcp_server"
TOOL_URL: Final = "mcp_server_url"
TOOL_INPUT: Final = "mcp_tool_input"

# -- attributes of the general conventions -------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
METHOD: Final = "http.request.method"
STATUS_CODE: Final = "http.response.status_code"
RESEND_COUNT: Final = "http.request.resend_count"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# -- attributes of the GenAI conventions ---------------------------------------------------------------
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"

TOOL_NAME: Final = "gen_ai.tool.name"
CALL_ID: Final = "gen_ai.tool.call.id"

CHAT: Final = "chat"
"""The operation of all three dialects, by the conventions' own list."""

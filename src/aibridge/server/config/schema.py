"""The whole configuration as types. A name that is not here stops the start; a value is checked where it stands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aibridge.server.auth.oidc.rules import ALGORITHMS, Algorithm
from aibridge.server.config.values import Duration, Size, Words, words

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
# Paths of the server's own; a provider of that name could not be reached.
RESERVED = frozenset(
    [
        "api",
        "healthz",
        "readyz",
        "metrics",
        "static",
        "login",
        "oauth",
        "openapi",
        "docs",
        "interceptions",
        "sessions",
        "models",
        "clients",
        "providers",
        "users",
        "keys",
        "groups",
        "budgets",
        "prices",
        "mcp",
        "usage",
        "audit",
        "health",
        "proxy",
    ]
)


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Server(Table):
    secret: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    public_url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    max_body: Size = 32 * 1024 * 1024
    max_concurrency: int = Field(default=0, ge=0)
    max_connections: int = Field(default=10_000, ge=1)
    drain_timeout: Duration = 300.0
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    log: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning"] = "info"


class Database(Table):
    url: str | None = None
    retention: Duration = 60 * 86400.0
    durability: Literal["local", "database"] = "local"


class Oidc(Table):
    issuer: str
    audience: Annotated[Words, Field(min_length=1)]
    username_claim: str = Field(default="preferred_username", min_length=1)
    email_claim: str = Field(default="email", min_length=1)
    groups_claim: str = Field(default="groups", min_length=1)
    admin_groups: Words = []
    auditor_groups: Words = []
    required_groups: Words = []
    algorithms: Annotated[list[Algorithm], BeforeValidator(words), Field(min_length=1)] = list(ALGORITHMS)
    leeway: Annotated[Duration, Field(le=300)] = 30.0
    jwks_url: str | None = None
    allow_private: bool = False
    ca_bundle: str | None = None


class Auth(Table):
    modes: Annotated[list[Literal["key", "oidc", "header", "coder"]], BeforeValidator(words), Field(min_length=1)] = [
        "key"
    ]
    oidc: Oidc | None = None
    # Taken as they are until the modes are built; a client's secret may be among them.
    header: dict[str, Any] = Field(default={}, repr=False, json_schema_extra={"secret": True})
    coder: dict[str, Any] = Field(default={}, repr=False, json_schema_extra={"secret": True})


class Bedrock(Table):
    region: str | None = None
    access_key: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    secret_key: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    session_token: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    role_arn: str | None = None
    external_id: str | None = None
    model: str | None = None
    small_fast_model: str | None = None
    models: dict[str, str] = {}
    base_url: str | None = None
    partner_id: str | None = None


class Azure(Table):
    api_version: str | None = None
    deployments: dict[str, str] = {}


class Vertex(Table):
    project: str | None = None
    region: str | None = None
    credentials_file: str | None = None
    model: str | None = None
    small_fast_model: str | None = None
    models: dict[str, str] = {}
    base_url: str | None = None


class CircuitBreaker(Table):
    enabled: bool = False
    failure_threshold: int = Field(default=5, ge=1)
    interval: Duration = 10.0
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    max_requests: int = Field(default=3, ge=1)


class ProviderTable(Table):
    type: Literal["anthropic", "openai", "copilot"]
    name: str = Field(default="", pattern=_NAME + "|^$")
    base_url: str | None = None
    keys: Annotated[Words, Field(max_length=5, repr=False, json_schema_extra={"secret": True})] = []
    max_retries: int = Field(default=0, ge=0, le=10)
    upstream_user: Literal["id", "username", "email", "hash", "off"] = "id"
    send_actor_headers: dict[str, str] = {}
    allow_byok: bool = True
    enabled: bool = True
    ask_usage: bool = True
    offer_tools: bool = True
    connect_timeout: Duration = 10.0
    first_byte_timeout: Duration = 120.0
    blocking_first_byte_timeout: Duration = 600.0
    stall_timeout: Duration = 600.0
    proxy: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})  # "": none
    ca_bundle: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    max_connections: int = Field(default=0, ge=0)
    models: dict[str, str] = {}
    fallback: str | None = None
    bedrock: Bedrock | None = None
    azure: Azure | None = None
    vertex: Vertex | None = None
    circuit_breaker: CircuitBreaker | None = None

    @property
    def instance(self) -> str:
        return self.name or self.type


class Upstream(Table):
    ca_bundle: str | None = None
    max_idle: int = Field(default=500, ge=0)
    idle_timeout: Duration = 30.0


class McpServer(Table):
    name: str = Field(pattern=_NAME)
    url: str | None = Field(default=None, repr=False)  # some have a key in it
    command: Words = []
    env: dict[str, str] = Field(default={}, repr=False, json_schema_extra={"secret": True})
    transport: Literal["auto", "streamable_http", "sse", "stdio"] = "auto"
    allow_tools: str | None = None
    deny_tools: str | None = None
    auth: Literal["none", "token", "oauth", "caller"] = "none"
    token: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    headers: dict[str, str] = Field(default={}, repr=False, json_schema_extra={"secret": True})
    groups: Words = []
    pin: Literal["report", "strict"] = "report"
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False, json_schema_extra={"secret": True})
    scopes: Words = []
    audience: str | None = None
    exchange: bool = False
    token_endpoint: str | None = Field(default=None, repr=False)  # as url
    subject_token_type: Literal["access_token", "id_token", "jwt"] = "access_token"  # noqa: S105  a kind
    announce_login: bool = False
    allow_private: bool = False


class Models(Table):
    allow: Words | dict[str, Words] = []  # or by group


class Tools(Table):
    client_mcp: Literal["allow", "deny"] | dict[str, Literal["allow", "deny"]] = "allow"  # or by group
    deny_client_tools: Words = []
    keepalive: Literal["tools", "always", "off"] = "tools"
    max_turns: int = Field(default=25, ge=1)
    max_time: Duration = 600.0
    call_timeout: Duration = 60.0
    max_result: Size = 256 * 1024
    max_repeats: int = Field(default=3, ge=1)
    max_offered: int = Field(default=120, ge=1)


class Recording(Table):
    prompts: bool = True
    tool_arguments: bool = True
    thoughts: bool = True
    max_bytes: Size = 1024 * 1024
    redact: list[str] = []
    fail: Literal["closed", "usage-only", "open"] = "closed"


class Metrics(Table):
    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)
    include_initiator: bool = False


class Tracing(Table):
    enabled: bool = False
    propagate: bool = False


class Dumps(Table):
    folder: str | None = None
    max_bytes: Size = 1024 * 1024
    max_exchanges: int = Field(default=1000, ge=1)


class Settings(Table):
    """The file as a whole."""

    server: Server = Server()
    database: Database = Database()
    auth: Auth = Auth()
    providers: list[ProviderTable] = []
    upstream: Upstream = Upstream()
    mcp_servers: list[McpServer] = []
    tools: Tools = Tools()
    models: Models = Models()
    recording: Recording = Recording()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    dumps: Dumps = Dumps()

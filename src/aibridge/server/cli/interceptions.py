"""`aibridge interceptions`: what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.server.cli.options import AsJson, Config

if TYPE_CHECKING:
    from aibridge.server.api.shapes import Interception

app = typer.Typer(no_args_is_help=True, help="Interceptions: requests to models, and what was recorded of them.")

_TIME = "RFC 3339, a day (2026-11-20), or how long ago (24h)"


@app.command("list")
def list_interceptions(
    initiator: Annotated[str | None, typer.Option(help="Only this user's (a name or an id).")] = None,
    provider: Annotated[str | None, typer.Option(help="A type of provider, or the name of one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that was asked for.")] = None,
    client: Annotated[str | None, typer.Option(help="The program that asked.")] = None,
    session: Annotated[str | None, typer.Option(help="The id of a session.")] = None,
    state: Annotated[str | None, typer.Option(help="How it ended, such as `completed`; `open`: in flight.")] = None,
    started_after: Annotated[str | None, typer.Option(help=f"{_TIME}.")] = None,
    started_before: Annotated[str | None, typer.Option(help=f"{_TIME}.")] = None,
    after_id: Annotated[str | None, typer.Option(help="Go on after this one, the last of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """List what has ended, newest first."""
    from aibridge.clock import SystemClock
    from aibridge.server.api import shapes
    from aibridge.server.cli import failures, opening, printing
    from aibridge.server.filters import filters_from

    given = {
        "initiator": initiator,
        "provider": provider,
        "model": model,
        "client": client,
        "session": session,
        "state": state,
        "started_after": started_after,
        "started_before": started_before,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    with failures.values_checked():
        filters = filters_from(asked, SystemClock().now())
    with opening.reading(config) as reading:
        page = shapes.interceptions(reading.interceptions(filters, limit=limit, after_id=after_id))
    if json:
        printing.as_json(page)
        return
    columns = ("ID", "STARTED", "USER", "PROVIDER", "MODEL", "CLIENT", "STATE", "TOKENS", "TOOLS", "SESSION", "PROMPT")
    printing.table(columns, [_row(found) for found in page.results])
    if page.next_after_id is not None:
        among = f" of {page.count}" if page.count is not None else ""
        printing.note(f"{len(page.results)}{among}; go on with --after-id {page.next_after_id}")


@app.command()
def show(
    interception_id: Annotated[str, typer.Argument(metavar="ID", help="As `aibridge interceptions list` shows it.")],
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Print one with everything that was recorded of it."""
    from aibridge.server.api import shapes
    from aibridge.server.cli import opening, printing
    from aibridge.server.persons import NotPossible

    with opening.reading(config) as reading:
        found = reading.interception(interception_id)
    if found is None:
        raise NotPossible(f"there is no interception {interception_id}")
    one = shapes.interception(found)
    if json:
        printing.as_json(one)
        return
    for line in _lines(one):
        printing.line(printing.visible(line))


def _row(found: Interception) -> tuple[str, ...]:
    from aibridge.server.cli import printing

    read = sum(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens for usage in found.token_usages)
    written = sum(usage.output_tokens for usage in found.token_usages)
    prompt = " ".join(" ".join(prompt.prompt for prompt in found.user_prompts).split())
    return (
        found.id,
        printing.moment(found.started_at),
        found.initiator.username or found.initiator.id,
        found.provider_name,
        found.model,
        found.client,
        found.state,
        f"{read} in, {written} out",
        ",".join(usage.tool for usage in found.tool_usages) or "-",
        found.session_id,
        prompt if len(prompt) <= 60 else f"{prompt[:57]}...",
    )


def _lines(found: Interception) -> list[str]:
    from aibridge.server.cli import printing

    heads: dict[str, Any] = {
        "id": found.id,
        "user": f"{found.initiator.username or '-'} ({found.initiator.id})",
        "started": printing.moment(found.started_at),
        "ended": printing.moment(found.ended_at),
        "state": found.state if found.error_type is None else f"{found.state}: {found.error_type}",
        "error": found.error_message,
        "status": found.http_status,
        "provider": f"{found.provider_name} ({found.provider})",
        "served by": found.served_by,
        "route": f"{found.route}, {'streaming' if found.streaming else 'blocking'}",
        "model": found.model,
        "client": found.client,
        "user agent": found.user_agent,
        "session": found.session_id,
        "parent": found.thread_parent_id,
        "credential": f"{found.credential_kind} {found.credential_hint}",
        "upstream user": found.upstream_user,
    }
    lines = [f"{name:<14} {value}" for name, value in heads.items() if value is not None]
    for usage in found.token_usages:
        cached = f"{usage.cache_read_tokens} read from and {usage.cache_write_tokens} written to the cache"
        partial = ", partial" if usage.partial else ""
        partial += f" ({usage.model})" if usage.model not in (None, found.model) else ""
        lines.append(f"{'tokens':<14} {usage.input_tokens} in, {usage.output_tokens} out, {cached}{partial}")
    for prompt in found.user_prompts:
        lines += ["", "prompt:", *(f"  {line}" for line in prompt.prompt.splitlines())]
    for thought in found.model_thoughts:
        lines += ["", f"thought ({thought.source}):", *(f"  {line}" for line in thought.content.splitlines())]
    for call in found.tool_usages:
        lines += ["", f"tool {call.tool} ({call.tool_call_id or '-'}): {call.input}"]
    return lines

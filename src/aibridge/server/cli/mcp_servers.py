"""`aibridge mcp`: the servers of injected tools, asked from here and now; a running gateway has sessions of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aibridge.server.cli.options import AsJson, Config

if TYPE_CHECKING:
    from aibridge.mcp.status import ServerStatus

app = typer.Typer(no_args_is_help=True, help="MCP servers, whose tools are offered to models.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The server's name in the configuration.")]
User = Annotated[str | None, typer.Option(help="Ask as this user (a name or an id); else as a member of every group.")]

TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="A user's token, for servers that are asked with it."),
]


@app.command("list")
def list_servers(user: User = None, token_file: TokenFile = None, config: Config = None, json: AsJson = False) -> None:
    """Connect to all servers and say how each does."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import statuses

    found = statuses(config, user, token_file)
    if json:
        printing.as_json(found)
        return
    printing.table(
        ("NAME", "STATE", "TRANSPORT", "PROTOCOL", "LOGIN", "TOOLS", "LEFT OUT", "ERROR"),
        [
            (
                s.name,
                s.state,
                s.transport,
                s.protocol_version or "-",
                s.login or "-",
                str(len(s.tools)),
                str(len(s.left_out)),
                s.last_error or "-",
            )
            for s in found
        ],
    )


@app.command()
def tools(
    name: Name, user: User = None, token_file: TokenFile = None, config: Config = None, json: AsJson = False
) -> None:
    """List a server's tools: those that are offered, and those that are left out and why."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import status_of

    found = status_of(config, name, user, token_file)
    if json:
        printing.as_json(found)
        return
    rows = [(each.id, each.name, "changed" if each.name in found.changed else "-") for each in found.tools]
    rows += [("-", each.name, each.why) for each in found.left_out]
    printing.table(("ID", "TOOL", "NOTE"), rows)


@app.command("test")
def connect(
    name: Name, user: User = None, token_file: TokenFile = None, config: Config = None, json: AsJson = False
) -> None:
    """Connect to one server and read its list; a local server's own complaints are shown."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import status_of

    found = status_of(config, name, user, token_file, show_complaints=True)
    printing.as_json(found) if json else printing.line(_in_words(found))


@app.command()
def login(
    name: Name,
    user: Annotated[
        str | None, typer.Option(help="Who is to log in (a name or an id): is the server for them?")
    ] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Print the address of the page, at the running gateway, where a person logs in at a server."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import where_to_log_in

    page = where_to_log_in(config, name, user)
    if json:
        printing.as_json({"server": name, "page": page})
        return
    printing.note("open this page while the gateway runs, and sign in with the key of whoever logs in:")
    printing.line(page)


@app.command()
def logout(
    name: Name,
    user: Annotated[str, typer.Option(help="Whose login (a name or an id).")],
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Forget a person's login at a server, and take its tokens back where the authorization server does that."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import logged_out

    gone, revoked = logged_out(config, name, user)
    if json:
        printing.as_json({"server": name, "user": user, "logged_out": gone, "revoked": revoked})
    elif not gone:
        printing.line(f"{user} had not logged in at {name}")
    else:
        at = "its tokens were taken back" if revoked else "its tokens may live until they end: they were not taken back"
        printing.line(f"{user} is logged out at {name}; {at}")


@app.command()
def accept(
    name: Name,
    tool: Annotated[str | None, typer.Option(help="Only this tool, by the server's own name of it.")] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Accept the definitions that have changed since they were first seen, as they were last seen."""
    from aibridge.server.cli import printing
    from aibridge.server.cli.asking_mcp_servers import accepted

    names = accepted(config, name, tool)
    if json:
        printing.as_json({"server": name, "accepted": names})
    else:
        printing.line(f"accepted: {', '.join(names)}" if names else "nothing has changed")


def _in_words(status: ServerStatus) -> str:
    tools = f"tools offered: {len(status.tools)}, left out: {len(status.left_out)}"
    return f"{status.name} is up ({status.transport}, protocol {status.protocol_version}); {tools}"

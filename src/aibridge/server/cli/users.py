"""`aibridge users`: who may hold keys."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aibridge.server.cli.options import AsJson, Config

app = typer.Typer(no_args_is_help=True, help="Users, who hold keys.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, or id.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that no other user has.")],
    email: Annotated[str | None, typer.Option(help="The e-mail address.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group; may be given several times.")] = None,
    role: Annotated[Literal["member", "auditor", "admin"], typer.Option(help="What the user may see.")] = "member",
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Make a user."""
    from aibridge.server.cli import failures, opening, printing

    with failures.values_checked(), opening.people(config) as people:
        user = people.create_user(name, email=email, groups=group or (), role=role)
    if json:
        printing.as_json(user)
    else:
        printing.line(f"user {user.username} ({user.id})")


@app.command("list")
def list_users(config: Config = None, json: AsJson = False) -> None:
    """List all users."""
    from aibridge.server.cli import opening, printing

    with opening.people(config) as people:
        users = people.list_users()
    if json:
        printing.as_json(users)
        return
    printing.table(
        ("NAME", "E-MAIL", "ROLE", "STATUS", "GROUPS", "CREATED", "ID"),
        [
            (
                u.username,
                u.email or "-",
                u.role,
                u.status,
                ",".join(u.groups) or "-",
                printing.moment(u.created_at),
                u.id,
            )
            for u in users
        ],
    )


@app.command()
def suspend(name: Name, config: Config = None, json: AsJson = False) -> None:
    """Make a user's keys open nothing, from the next request on."""
    from aibridge.server.cli import opening, printing

    with opening.people(config) as people:
        user = people.suspend(name)
    printing.as_json(user) if json else printing.line(f"user {user.username} is suspended")


@app.command()
def activate(name: Name, config: Config = None, json: AsJson = False) -> None:
    """Let a suspended user's keys open again."""
    from aibridge.server.cli import opening, printing

    with opening.people(config) as people:
        user = people.activate(name)
    printing.as_json(user) if json else printing.line(f"user {user.username} is active")

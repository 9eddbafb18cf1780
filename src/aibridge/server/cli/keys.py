"""`aibridge keys`: what clients send to be let in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.server.cli.options import AsJson, Config

if TYPE_CHECKING:
    from aibridge.server.persons import Key

app = typer.Typer(no_args_is_help=True, help="Keys, with which clients are let in.")

ADMIN = "admin"
_FOR_EVER = "never"


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, as lists show it.")] = "key",
    user: Annotated[str, typer.Option(help="Whose it is; the user `admin` is made when it is needed.")] = ADMIN,
    scope: Annotated[
        list[str] | None, typer.Option(help="use, read:own, read:all or admin; may be given several times.")
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it lives, as in 90d or 12h, or `never`.")] = "90d",
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown this once only."""
    from aibridge.server.cli import failures, opening, printing
    from aibridge.server.config.values import seconds

    try:
        if expires.replace(".", "").isdecimal():  # in the configuration seconds; who writes 30 here means days
            raise ValueError("a number without a unit")
        life = None if expires == _FOR_EVER else timedelta(seconds=seconds(expires))
    except (ValueError, OverflowError):
        raise typer.BadParameter("a duration such as 12h or 90d, or `never`", param_hint="--expires") from None
    with failures.values_checked(), opening.people(config, makes_keys=True) as people:
        owner = people.ensure_user(ADMIN, role="admin").id if user == ADMIN else user
        made = people.create_key(owner, name=name, scopes=scope or ("use", "read:own"), life=life)  # type: ignore[arg-type]  # `create_key` refuses what is no scope
    if json:
        printing.as_json({"id": made.key.id, "key": made.secret, **_told(made.key)})
        return
    printing.note(f"key {made.key.name} of {made.key.username}, expires {printing.moment(made.key.expires_at)}:")
    printing.line(made.secret)


@app.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """List keys, the dead ones too. Their secrets are not known to anybody."""
    from aibridge.server.cli import opening, printing

    with opening.people(config) as people:
        keys = people.list_keys(user)
    if json:
        printing.as_json([{"id": key.id, **_told(key)} for key in keys])
        return
    printing.table(
        ("NAME", "USER", "SCOPES", "EXPIRES", "REVOKED", "LAST USED", "ID"),
        [
            (
                key.name,
                key.username,
                ",".join(key.scopes),
                printing.moment(key.expires_at),
                printing.moment(key.revoked_at),
                printing.moment(key.last_used_at),
                key.id,
            )
            for key in keys
        ],
    )


@app.command()
def revoke(
    key_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The key's id, as `aibridge keys list` shows it.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All keys; the server may then start with another secret.")
    ] = False,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Make a key, or all of them, open nothing, from the next request on."""
    from aibridge.server.cli import opening, printing

    if every is (key_id is not None):
        raise typer.BadParameter("the ID of one key, or --all", param_hint="ID")
    with opening.people(config) as people:
        if key_id is None:
            number = people.revoke_all_keys()
            printing.as_json({"revoked": number}) if json else printing.line(f"keys that are revoked now: {number}")
            return
        key = people.revoke_key(key_id)
    printing.as_json({"id": key.id, **_told(key)}) if json else printing.line(f"key {key.name} is revoked")


def _told(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "user_id": key.user_id,
        "username": key.username,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }

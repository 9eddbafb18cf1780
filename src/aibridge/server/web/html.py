"""Small pages as text. Whatever comes from elsewhere is escaped; nothing of a page runs, loads, or may be framed."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff;overflow-wrap:anywhere}h1{font-size:1.3rem}input,button{font:inherit;padding:.4rem .7rem}"
    "input[type=password]{width:100%;box-sizing:border-box;margin:.3rem 0 1rem}form{margin:1rem 0}"
    ".wrong{color:#a00}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # with no-referrer, forms would say that they come from nowhere
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def message(title: str, words: str, link: tuple[str, str] | None = None) -> str:
    """`link`: where people can go from here, and in which words."""
    onward = "" if link is None else f'<p><a href="{escape(link[0])}">{escape(link[1])}</a></p>'
    return _page(title, f"<p>{escape(words)}</p>{onward}")


def sign_in(server: str, form_token: str, wanted: str, wrong: str | None) -> str:
    """Asks for what is `wanted`: a key or a token. `wrong` says why the last one did not do."""
    told = described = ""
    if wrong is not None:
        told = f'<p class="wrong" id="wrong" role="alert">{escape(wrong[:1].upper() + wrong[1:])}</p>'
        described = ' aria-invalid="true" aria-describedby="wrong"'  # read out with the field, which has the focus
    return _page(
        "Sign in to aibridge",
        f"<p>To log in at the MCP server <strong>{escape(server)}</strong>, say first who you are: with"
        f" {escape(wanted)}, which is sent to this gateway only.</p>{told}"
        + _form(
            form_token,
            "sign-in",
            f'<label>{escape(wanted.capitalize())}<input type="password" name="key" autocomplete="off" required'
            f" autofocus{described}></label>"
            "<button>Sign in</button>",
        ),
    )


def confirm(*, server: str, url: str, user: str, logged_in: bool, form_token: str) -> str:
    """Asks whether this is what the person wants, with both names."""
    again = "<p>You have logged in there already; this makes a new login.</p>" if logged_in else ""
    return _page(
        f"Log in at {server}",
        f"<p>You are signed in to aibridge as <strong>{escape(user)}</strong>. From now on the models that you use with"
        f" your keys may use the tools of <strong>{escape(server)}</strong> (<code>{escape(url)}</code>) with the"
        f" rights of the account that you log in with there.</p>{again}"
        + _form(form_token, "continue", f"<button>Log in at {escape(server)} as {escape(user)}</button>")
        + _form(form_token, "sign-out", "<button>I am somebody else</button>"),
    )


def onward(server: str, url: str) -> str:
    """Sends the browser on.

    By the page and not by a redirect: browsers apply `form-action` to redirects that follow a form too, and where an
    authorization server sends people in its turn is not known.
    """
    target = escape(url)
    return _page(
        f"Log in at {server}",
        f'<p>You are sent on. <a href="{target}" rel="noreferrer">Continue to the login of {escape(server)}</a></p>',
        f'<meta http-equiv="refresh" content="0;url={target}">',
    )


def _form(form_token: str, action: str, inside: str) -> str:
    return (
        f'<form method="post"><input type="hidden" name="form_token" value="{escape(form_token)}">'
        f'<input type="hidden" name="action" value="{escape(action)}">{inside}</form>'
    )


def _page(title: str, body: str, head: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )

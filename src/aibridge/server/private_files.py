"""Files that hold a secret: readable by their owner only, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


class PrivateFileUnusable(Exception):
    """A file with a secret cannot be read or made; the message is one line that names it."""


def kept(path: Path, make: Callable[[], str]) -> str:
    """The text of the file; where there is none, `make` gives it. Of two processes that make it, one does.

    Raises:
        PrivateFileUnusable
    """
    return read(path) or _made(path, make())


def read(path: Path) -> str | None:
    """The text of the file, or None where there is none.

    Raises:
        PrivateFileUnusable: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PrivateFileUnusable(f"{path}: cannot be read ({_why(error)})") from None
    if not text:
        raise PrivateFileUnusable(f"{path}: is empty; remove it, or put back what was in it")
    return text


def write(path: Path, text: str) -> None:
    """Puts `text` in the file, in place of what was there.

    Raises:
        PrivateFileUnusable
    """
    try:
        _temporary(path, text).replace(path)
    except OSError as error:
        raise PrivateFileUnusable(f"{path}: cannot be written ({_why(error)})") from None


def _made(path: Path, text: str) -> str:
    try:
        temporary = _temporary(path, text)
        try:
            os.link(temporary, path)  # fails where the file exists by now
        except FileExistsError:
            return read(path) or text
        finally:
            temporary.unlink()
    except OSError as error:
        raise PrivateFileUnusable(f"{path}: cannot be written ({_why(error)})") from None
    return text


def _temporary(path: Path, text: str) -> Path:
    """A new file beside `path` with the text, on the disk. `mkstemp` makes it with mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8 text"

"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration file; else $AIBRIDGE_CONFIG, if set."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

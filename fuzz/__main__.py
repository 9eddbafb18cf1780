"""`python -m fuzz TARGET [options of libFuzzer]`: runs one target under atheris (see README.md)."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]  # a tool of its own environment, not in the lock

# Only what is tried is watched: the plain parsers would draw the fuzzer's attention, and slow it down.
with atheris.instrument_imports(include=["aibridge"]):
    from fuzz import eventstream_fuzz, json_body_fuzz, sse_fuzz

_TARGETS = {"sse": sse_fuzz.check, "json_body": json_body_fuzz.check, "eventstream": eventstream_fuzz.check}

if len(sys.argv) < 2 or sys.argv[1] not in _TARGETS:
    sys.exit(f"usage: python -m fuzz {{{','.join(_TARGETS)}}} [options of libFuzzer]")
atheris.Setup([sys.argv[0], *sys.argv[2:]], _TARGETS[sys.argv[1]])
atheris.Fuzz()

#!/usr/bin/env python3
"""A server of twenty tools that nobody calls, over standard input and output, for what it costs to offer them.

    tool_server.py

It speaks just enough of MCP to be listed, with nothing from PyPI: it is in the gateway's process tree, whose CPU counts.
"""

from __future__ import annotations

import json
import sys
from typing import Any

PROSE = "Looks something up in a system of the organisation, and tells what stands there. Takes words, not sentences. "
TOOLS = [
    {
        "name": f"look_up_{number}",
        "description": PROSE * 3,
        "inputSchema": {
            "type": "object",
            "properties": {
                f"p{each}": {"type": "string", "description": "what to look for, and where"} for each in range(4)
            },
            "required": ["p0"],
        },
    }
    for number in range(20)
]


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    match asked["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": asked["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        case "tools/list":
            result = {"tools": TOOLS}
        case "ping":
            result = {}
        case _:
            return {"error": {"code": -32601, "message": "not here"}}
    return {"result": result}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked and "method" in asked:
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer(asked)}), flush=True)


if __name__ == "__main__":
    main()

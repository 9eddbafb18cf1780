"""A server that is spoken to over its standard input and output: `python local_server.py`."""

import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("local")


@server.tool()
def variables() -> list[str]:
    """The names of the variables that the program was given."""
    return sorted(os.environ)


@server.tool()
def secret() -> str:
    """One of their values."""
    return os.environ["OF_THE_SERVER"]


@server.tool()
def process() -> str:
    """The number of the process."""
    return str(os.getpid())


@server.tool()
def die() -> str:
    """Ends the process in mid-call."""
    sys.stderr.write("dying\n")
    os._exit(7)


if __name__ == "__main__":
    server.run()

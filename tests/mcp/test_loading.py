"""The SDK is loaded when a toolbox is entered, in a thread; a configuration, and a start, do without it."""

import subprocess
import sys

MAKES_ONE = """
import sys
from aibridge.mcp import McpServer, McpToolbox
toolbox = McpToolbox([McpServer(name="wiki", url="https://wiki.example/mcp")])
print([status.state for status in toolbox.status()], "mcp" in sys.modules, "mcp_types" in sys.modules)
"""


def test_making_a_toolbox_and_asking_for_its_status_loads_no_sdk() -> None:
    said = subprocess.run([sys.executable, "-I", "-c", MAKES_ONE], capture_output=True, text=True, check=True).stdout

    assert said == "['unused'] False False\n"

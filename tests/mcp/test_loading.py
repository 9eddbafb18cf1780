"""The SDK is loaded when a toolbox is entered, in a thread; a configuration, and a start, do without it."""

import subprocess
import sys

import pytest

MAKES_ONE = """
import sys
from aibridge.mcp import McpServer, McpToolbox
toolbox = McpToolbox([McpServer(name="wiki", url="https://wiki.example/mcp")])
print([status.state for status in toolbox.status()], "mcp" in sys.modules, "mcp_types" in sys.modules)
"""


def test_making_a_toolbox_and_asking_for_its_status_loads_no_sdk() -> None:
    said = subprocess.run([sys.executable, "-I", "-c", MAKES_ONE], capture_output=True, text=True, check=True).stdout

    assert said == "['unused'] False False\n"


# The second begins when the first is about to import that module, and goes as far as it can before the first goes on.
MEETING = """
import sys, threading, time
from importlib import import_module
from aibridge.mcp.oauth import exchanges

loads = {"toolbox": lambda: import_module("aibridge.mcp.sessions"), "login": exchanges.load}
first, second, where = sys.argv[1:]
other = threading.Thread(target=loads[second])

def midway(event, arguments):
    if event == "import" and arguments[0] == where and other.ident is None:
        other.start()
        end = time.monotonic() + 10
        while sys._current_frames()[other.ident].f_code.co_name != "acquire":  # it waits for a module's lock
            if time.monotonic() > end:
                return
            other.join(0.001)
        print("met")

sys.addaudithook(midway)
loads[first]()
other.join()
print("made")
"""


@pytest.mark.parametrize("where", ["mcp", "mcp.shared", "mcp_types._types"])
@pytest.mark.parametrize("order", [("toolbox", "login"), ("login", "toolbox")])
def test_a_login_that_loads_the_sdk_at_the_same_time_stops_neither_the_toolbox_nor_itself(
    order: tuple[str, str], where: str
) -> None:
    program = (sys.executable, "-c", MEETING, *order, where)
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert (ran.stdout.split(), ran.stderr) == (["met", "made"], "")

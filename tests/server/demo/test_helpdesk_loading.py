"""The helpdesk and the gateway's toolbox load the SDK at the same time, each in a thread."""

import subprocess
import sys

# The toolbox begins when the helpdesk is in the midst of the SDK, and goes as far as it can before that goes on.
_PROGRAM = """
import sys, threading, time
from importlib import import_module
from aibridge.server.demo import helpdesk

toolbox = threading.Thread(target=import_module, args=("aibridge.mcp.sessions",))

def midway(event, arguments):
    if event == "import" and arguments[0].startswith("mcp.client") and toolbox.ident is None:
        toolbox.start()
        end = time.monotonic() + 10
        while sys._current_frames()[toolbox.ident].f_code.co_name != "acquire":  # it waits for a module's lock
            if time.monotonic() > end:
                return
            toolbox.join(0.001)
        print("met")

sys.addaudithook(midway)
helpdesk._made()
toolbox.join()
print("made")
"""


def test_a_toolbox_that_loads_the_sdk_at_the_same_time_does_not_stop_the_helpdesk() -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.stdout.split(), ran.stderr) == (["met", "made"], "")

"""A simulated provider: Anthropic, OpenAI and Copilot on loopback, in three dialects and both modes.

It stands alone: nothing here imports the rest of aibridge, so that what the bridge does is never checked with the
bridge's own code.
"""

from aibridge.server.demo.simulator.app import SimulatedProvider
from aibridge.server.demo.simulator.exchange import Exchange, Incoming, ScriptedAnswer
from aibridge.server.demo.simulator.ledger import LedgerLine, write_ledger
from aibridge.server.demo.simulator.serving import serve_simulator

__all__ = [
    "Exchange",
    "Incoming",
    "LedgerLine",
    "ScriptedAnswer",
    "SimulatedProvider",
    "serve_simulator",
    "write_ledger",
]

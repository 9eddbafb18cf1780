"""The Messages API as the simulated provider speaks it: read a request, word the answer, stream it."""

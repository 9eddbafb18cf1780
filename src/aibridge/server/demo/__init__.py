"""`aibridge demo`: the gateway in front of a simulated provider, tried with the real SDKs of the providers."""

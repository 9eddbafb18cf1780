"""aibridge: a gateway between AI clients and model providers that records what passes under a person's name."""

__version__ = "0.1.0"

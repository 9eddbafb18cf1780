"""The standing benchmark: what the gateway costs beside nginx. See README.md."""

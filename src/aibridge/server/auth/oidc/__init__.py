"""Signing in with a token of the company's identity provider (OpenID Connect). Loaded where it is configured only."""

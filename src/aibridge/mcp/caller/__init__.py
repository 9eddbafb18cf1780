"""Servers that are asked with the caller's own token (`auth = "caller"`), or with one that it was exchanged for."""

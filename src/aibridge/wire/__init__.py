"""Byte formats that the dialects share. Everything here is pure: bytes in, values out."""

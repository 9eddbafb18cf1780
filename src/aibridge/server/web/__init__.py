"""Pages for people's browsers."""

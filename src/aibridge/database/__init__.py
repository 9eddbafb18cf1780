"""The database file: its tables, its one writer thread, and the locks between processes. Knows no record and no recorder."""

"""Those who keep records: in memory, in SQLite, by a function, or several at once. One file each."""

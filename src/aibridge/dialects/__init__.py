"""The wire formats that the bridge speaks. To add one: a folder of the same files, and a line here."""

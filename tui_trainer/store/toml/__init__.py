"""TOML files as typed records, with errors that name the file, the line and the key."""

"""Which key does what: actions, key names, tile letters."""

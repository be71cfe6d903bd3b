"""The `ringback` command: it looks and it starts things; the work is done by the processes."""

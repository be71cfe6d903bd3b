"""The `ringback` command. It inspects and starts things; the processes do the work."""

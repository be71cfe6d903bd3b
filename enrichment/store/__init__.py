"""Every statement of the program, in typed functions; nothing else here or elsewhere holds SQL."""

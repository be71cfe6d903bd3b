"""Call out: ask the providers, poll them, and store the outcomes. Never listen."""

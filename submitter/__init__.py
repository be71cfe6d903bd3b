"""Calls out: asks the providers, polls them, and writes down what came of it. Never listens."""

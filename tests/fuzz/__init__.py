"""Hostile inputs for every parser and verifier, drawn for as long as you like; what was found is kept in corpus/."""

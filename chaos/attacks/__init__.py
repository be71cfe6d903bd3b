"""Attacks on one receiver, each from a process of its own, and what the receiver and its other clients feel of it."""

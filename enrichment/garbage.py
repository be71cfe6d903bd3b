"""Tune the garbage collector for processes that run for months."""

import gc

# Reference counting frees almost everything here: there are hardly any cycles. Python's default, a collection after
# every 700 objects, took a tenth of the submitter's CPU (make bench-lookups).
YOUNG, MIDDLE, OLD = 20_000, 20, 20


def collect_rarely() -> None:
    """Exempt all loaded objects from collection, and collect later ones rarely. Call once, at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)

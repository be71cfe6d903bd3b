"""The garbage collector, told what a process that runs for months is like."""

import gc

# Almost nothing here is a cycle: reference counts free it. Looking all the same, after every 700 objects as Python
# comes, took a tenth of the submitter's CPU (make bench-lookups).
YOUNG, MIDDLE, OLD = 20_000, 20, 20


def collect_rarely() -> None:
    """What was loaded until now is never looked through again, and what comes later not often.  Once, at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)

"""`ringback demo`: the whole of it against pretend vendors, checked against their own books."""

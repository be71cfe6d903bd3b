"""`ringback demo`: everything runs against pretend vendors, and the result is compared with the vendors' own books."""

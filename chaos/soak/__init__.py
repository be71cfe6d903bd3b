"""Half an hour of steady work, and whether anything grows that should not."""

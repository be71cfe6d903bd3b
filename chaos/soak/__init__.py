"""Half an hour of steady work, to find what grows and should not."""

"""The benchmark: Ringback's speed beside limits and peers."""

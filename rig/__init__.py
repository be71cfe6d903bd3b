"""Start what tests, chaos, bench, demo and `ringback up` need: processes, a proxy, a throw-away PostgreSQL."""

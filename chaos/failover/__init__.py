"""The day on which a database primary or its standby dies, again and again: `make failover`."""

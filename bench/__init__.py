"""What Ringback is measured by: its promises under chaos, and its speed beside others."""

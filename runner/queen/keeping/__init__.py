"""What stays and for how long: logs, where they lie when they are old, and what is deleted."""

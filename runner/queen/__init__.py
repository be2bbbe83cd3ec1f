"""The loop around the two pure functions: events in, orders out; woken by events, never by a tick."""

"""Forked jobs: made, minded until they end, and gathered by the task that waits."""

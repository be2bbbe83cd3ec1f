"""What should run: reads git and makes the store agree. Level-based: keys in, de-duplicated; losing or doubling a
wake-up only changes when, never what. `diff` and `triggers` are pure."""

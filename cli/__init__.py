"""The roof: one file a command; the only place where parts are wired together, and that reads the environment."""

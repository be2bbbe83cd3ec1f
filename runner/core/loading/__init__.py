"""From a parsed text to definitions: every key, how it is read, and what is wrong with it."""

"""From the text of a definition to a tree with places: nothing here knows a key, and nothing runs code."""

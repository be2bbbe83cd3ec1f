"""One checked file of everything that the queen remembers, made while she works, and put back elsewhere. No key and no
token is ever in it."""

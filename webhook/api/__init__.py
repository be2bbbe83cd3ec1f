"""The REST interface, one file a resource; each declares its operations in a table and nothing is served outside it."""

"""The door: everything that comes in over HTTP. It checks who calls, writes down, asks the queen, and answers."""

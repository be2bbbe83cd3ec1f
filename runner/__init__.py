"""The queen: what runs next, what is remembered, and how it is told.

queen > store | bus | artifacts | git | publish > core.
"""

"""What runs a task: an ant claims orders with its hands, and takes each from its claim to its report.

One task = one task group: executor, log pump, cancel watch. Workspace, cache and artifacts are its business. Bytes are
masked before they leave it (T8), it works on while the queen is away (D7), and nothing of a task outlives it.
"""

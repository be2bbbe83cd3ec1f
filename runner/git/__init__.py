"""The only place that touches git: refs, blobs and diffs are read with dulwich, workspaces are copies."""

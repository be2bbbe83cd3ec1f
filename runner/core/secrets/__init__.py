"""Which secrets a task sees, and that none leaves the ant in what it writes."""

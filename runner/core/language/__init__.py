"""Text to mapping: dialects, templates, tokens, positions, limits, taint. Knows YAML and Jinja2, knows no job."""

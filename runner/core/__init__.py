"""Decides and touches nothing: no I/O, no clock, no randomness. Time, ids and randomness are arguments.

Third parties: pydantic; pyyaml and jinja2 in `language/`; croniter in `cron.py`.
"""

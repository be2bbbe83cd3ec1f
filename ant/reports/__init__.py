"""Reads the reports that a script has written: the task's own bytes, bounded, by safe parsers, never followed."""

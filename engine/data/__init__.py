"""Rows that people bring: what is asked and answered in them, and how a reply is judged."""

"""Measures what a task uses, and prices it."""

"""Comparisons and job results for people: one HTML file, and tables in the terminal. No numbers are computed here."""

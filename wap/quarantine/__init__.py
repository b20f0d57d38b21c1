"""Rows that checks refuse: moved to a table of their own, and taken out of it again."""

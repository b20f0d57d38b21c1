"""Rows that meet the published ones by key: merge, history, and append without duplicates."""

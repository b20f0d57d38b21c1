"""Drills: workers killed and batches spoiled on purpose, far from the project's own tables."""

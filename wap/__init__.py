"""Pipelines, the saga that runs them, and the doors; it re-exports nothing on purpose.

A face that re-exports would be loaded twice in Temporal's workflow sandbox, and workflow tasks
would then fail for ever (docs/decisions/0003-temporal.md).
"""

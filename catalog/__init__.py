"""Branches of tables, and the only code that moves main."""

"""Spark beside the engine: its jars, its session, and tables that only one session knows."""

"""The REST API: pipelines in tables read and changed, runs and reports read; ``wap serve``."""

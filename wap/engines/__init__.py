"""What turns rows into staged data files: the port ``Engine`` and one file per engine."""

"""What happened, in a SQL database: pipelines, runs, steps, checks and files loaded."""

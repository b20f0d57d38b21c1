"""The engineer's door: ``python run_workflow.py flights --project examples/nycflights``."""

from wap.cli import run_workflow

if __name__ == "__main__":
    run_workflow()

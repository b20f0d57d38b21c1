"""``python -m wap``: the ``wap`` command."""

from wap.cli import main

main()

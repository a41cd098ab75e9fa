"""``python -m nodewise`` is ``nodewise``."""

from nodewise.cli.main import main

# Worker processes that are spawned import this module again.
if __name__ == "__main__":
    main()

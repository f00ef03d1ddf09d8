"""The job: `python entrypoint.py [command]`, the container's entry point."""

import sys

from migrator.cli import main

if __name__ == "__main__":
    sys.exit(main())

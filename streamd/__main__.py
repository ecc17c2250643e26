"""The program: ``streamd`` and ``python -m streamd``."""

import sys
from typing import NoReturn

from streamd import cli

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line with the process's arguments, and end the process with its status."""
    sys.exit(cli.main())


if __name__ == "__main__":
    main()

"""All audits in one command: ``python -m tests.audit``."""

import sys

from tests.audit.every import main

if __name__ == "__main__":
    sys.exit(main())

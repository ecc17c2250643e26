"""The long audit: ``python -m tests.fuzz --examples 20000``, each test with so many examples, in random order."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """Run the tests of this folder with many examples."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--examples", type=int, default=2_000, help="examples of each test")
    given = flags.parse_args()
    command = [sys.executable, "-m", "pytest", "-q", "--durations=20", "--timeout=0", str(Path(__file__).parent)]
    environment = {**os.environ, "STREAMD_FUZZ_EXAMPLES": str(given.examples)}
    # The command is written here; nothing of it comes from outside.
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

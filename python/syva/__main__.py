"""The command `syva`, which is the same program as the one without Python."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> int:
    """Runs the command line, and returns the exit code."""
    # The program answers Ctrl-C itself, and saves a training first.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.run_cli(["syva", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

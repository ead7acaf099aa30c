"""`python -m multirate_core`: the command line."""

import sys

from multirate_core.cli.program import main

if __name__ == "__main__":
    sys.exit(main())

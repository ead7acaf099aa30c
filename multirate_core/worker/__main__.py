"""`python -m multirate_core.worker --store PATH --race ID`."""

import sys

from multirate_core.worker.process import main

if __name__ == "__main__":
    sys.exit(main())

"""The command line as `python -m cascade_driver`."""

import sys

from cascade_driver.cli import main

if __name__ == "__main__":
    sys.exit(main())

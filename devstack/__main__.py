"""`python -m devstack up|down|status|logs|restart`."""

import sys

from devstack.commands import main

if __name__ == "__main__":
    sys.exit(main())

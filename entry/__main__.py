"""`python -m entry`: serves until SIGTERM or SIGINT."""

import asyncio
import sys

from entry.proxy import serve
from entry.settings import EntrySettings
from shared.runtime.process.settings import load_settings


def main() -> int:
    asyncio.run(serve(load_settings(EntrySettings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

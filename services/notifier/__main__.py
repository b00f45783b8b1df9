"""`python -m services.notifier <command>`."""

from services.notifier.main import COMMANDS
from shared.runtime.process.commands import main

main(COMMANDS)

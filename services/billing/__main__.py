"""`python -m services.billing <command>`."""

from services.billing.main import COMMANDS
from shared.runtime.process.commands import main

main(COMMANDS)

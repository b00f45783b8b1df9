"""`python -m services.billing <command>`."""

from services.billing.main import COMMANDS
from shared.runtime.commands import main

main(COMMANDS)

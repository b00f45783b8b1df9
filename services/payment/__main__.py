"""`python -m services.payment <command>`."""

from services.payment.main import COMMANDS
from shared.runtime.process.commands import main

main(COMMANDS)

"""`python -m services.payment <command>`."""

from services.payment.main import COMMANDS
from shared.runtime.commands import main

main(COMMANDS)

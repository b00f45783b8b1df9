"""`python -m services.identity <command>`."""

from services.identity.main import COMMANDS
from shared.runtime.commands import main

main(COMMANDS)

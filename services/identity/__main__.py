"""`python -m services.identity <command>`."""

from services.identity.main import COMMANDS
from shared.runtime.process.commands import main

main(COMMANDS)

"""`python -m services.payment channels list|stop|start`: the kill switch, with who and why."""

import argparse
import sys
from collections.abc import Mapping

from services.payment.adapters.postgres.switches import PostgresSwitches
from services.payment.domain.channel import Capabilities
from services.payment.domain.switch import ALL_CHANNELS, Switch
from services.payment.settings import PaymentSettings
from shared.kernel.clock import SystemClock, to_rfc3339
from shared.runtime.database.database import Database, open_database
from shared.runtime.process.commands import Command
from shared.runtime.process.process import EXIT_OK

WORDS_MAX = 200


class SwitchCommands:
    """Knows which channels there are; every turn of a switch is one row that stays."""

    def __init__(self, channels: Mapping[str, Capabilities]) -> None:
        self._names = (*channels, ALL_CHANNELS)

    def command(self) -> Command[PaymentSettings]:
        return Command("channels", "stop new payments through a channel, or all", self._add)

    def _add(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        listing = actions.add_parser("list", help="how each channel stands, and since when")
        listing.set_defaults(run=self._list)
        for action, help in (("stop", "no new payments begin"), ("start", "they may begin again")):
            turning = actions.add_parser(action, help=help)
            turning.add_argument("channel", help=f"a channel, or {ALL_CHANNELS!r}")
            turning.add_argument("--by", required=True, help="who decided it")
            turning.add_argument("--why", required=True, help="for the audit")
            turning.set_defaults(run=self._turn, check=self._check)

    def _check(self, arguments: argparse.Namespace) -> str | None:
        if arguments.channel not in self._names:
            return f"there is no channel {arguments.channel!r}; there are {', '.join(self._names)}"
        for option in ("by", "why"):
            words = getattr(arguments, option).strip()
            if not 0 < len(words) <= WORDS_MAX or not words.isprintable():
                return f"--{option} must be one line of 1 to {WORDS_MAX} characters"
        return None

    async def _list(self, settings: PaymentSettings, _arguments: argparse.Namespace) -> int:
        database = _open(settings)
        try:
            async with database.transaction() as unit:
                newest = await PostgresSwitches(unit.connection).newest()
        finally:
            await database.close()
        for name in self._names:
            _say(_line(name, newest.get(name)))
        return EXIT_OK

    async def _turn(self, settings: PaymentSettings, arguments: argparse.Namespace) -> int:
        switch = Switch(
            channel=arguments.channel,
            is_stopped=arguments.action == "stop",
            switched_by=arguments.by.strip(),
            why=arguments.why.strip(),
            switched_at=SystemClock().now(),
        )
        database = _open(settings)
        try:
            async with database.transaction() as unit:
                await PostgresSwitches(unit.connection).turn(switch)
        finally:
            await database.close()
        _say(_line(switch.channel, switch))
        return EXIT_OK


def _open(settings: PaymentSettings) -> Database:
    return open_database(settings.database_url.get_secret_value(), source="payment", pool_size=1)


def _line(name: str, switch: Switch | None) -> str:
    if switch is None:
        return f"{name}  started"
    state = "stopped" if switch.is_stopped else "started"
    at = to_rfc3339(switch.switched_at)
    return f"{name}  {state}  {at}  by {switch.switched_by}: {switch.why}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")

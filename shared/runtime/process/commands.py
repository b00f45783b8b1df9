"""The command line of every service: `python -m services.<name> <command>`.

Exit codes: 0 done, 1 failed, 2 wrong use or settings (one sentence on stderr).
"""

import argparse
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID

import structlog

from shared.kernel.clock import SystemClock, to_rfc3339
from shared.kernel.errors import SongheError
from shared.runtime.database.database import Database, open_database
from shared.runtime.ground import crash_points, metrics
from shared.runtime.ground.logs import configure_logs
from shared.runtime.messaging import dead_letters
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.messaging.dead_letters import DeadLetter
from shared.runtime.messaging.outbox import Range, resend
from shared.runtime.messaging.positions import reset_positions
from shared.runtime.process.process import EXIT_FAILED, EXIT_OK, run
from shared.runtime.process.settings import (
    ServiceSettings,
    SettingsError,
    exit_with_sentence,
    load_settings,
)

LISTED_MAX = 1000

Settings = TypeVar("Settings", bound=ServiceSettings)
Running = Coroutine[Any, Any, int]
Process = Callable[[Settings], Running]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Command(Generic[Settings]):
    """An operator command of one service: `add` declares its arguments and the action of each.

    An action is what `arguments.run` holds: `async (settings, arguments) -> exit code`.
    """

    name: str
    help: str
    add: Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True, slots=True)
class ServiceCommands(Generic[Settings]):
    """What a service's `main.py` offers; `processes` run until they are told to stop.

    `processes` has `api`, `worker` and what else the service runs; each imports what it needs when
    it is called, so that no process holds what only another one uses. `consumer` gives the
    reaction table for the dead-letter commands; None where the service consumes nothing.
    `own` are commands that only this service has.
    """

    service: str
    settings: type[Settings]
    processes: Mapping[str, Process[Settings]]
    consumer: Callable[[Settings], Consumer] | None = None
    own: Sequence[Command[Settings]] = ()


@dataclass(frozen=True, slots=True)
class _Call(Generic[Settings]):
    """One command with its arguments."""

    commands: ServiceCommands[Settings]
    settings: Settings
    arguments: argparse.Namespace = field(repr=False)

    def open_database(self) -> Database:
        url = self.settings.database_url.get_secret_value()
        return open_database(url, source=self.commands.service, pool_size=1)

    def consumer(self) -> Consumer:
        assert self.commands.consumer is not None, "the parser offers this to consumers only"
        return self.commands.consumer(self.settings)


def main(commands: ServiceCommands[Settings], argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that `argv` names and exit with its code."""
    arguments = _arguments(_parser(commands), argv)
    settings = load_settings(commands.settings)
    configure_logs(service=commands.service, process=arguments.command, level=settings.log_level)
    if settings.crash_at is not None:
        crash_points.arm(settings.crash_at)
    metrics.BUILD_INFO.labels(commands.service, _version(), settings.revision).set(1)
    raise SystemExit(_run(_Call(commands, settings, arguments)))


def _arguments(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser.parse_args(argv)
    fault = arguments.check(arguments) if "check" in arguments else None
    if fault is not None:
        parser.error(fault)
    return arguments


def _run(call: _Call[Settings]) -> int:
    try:
        return run(call.arguments.act(call))
    except SettingsError as error:
        exit_with_sentence(str(error))
    except SongheError as error:
        sys.stderr.write(f"{error}\n")
    except Exception:
        log.exception("command_failed", command=call.arguments.command)
    return EXIT_FAILED


async def _own(call: _Call[Settings]) -> int:
    code: int = await call.arguments.run(call.settings, call.arguments)
    return code


def _process(call: _Call[Settings]) -> Running:
    # Called before the loop runs: what is imported here lives as long as the process, and is not
    # looked through by the collector (`process.run`).
    return call.commands.processes[call.arguments.command](call.settings)


async def _migrate(call: _Call[Settings]) -> int:
    # The messaging tables, which no API needs
    from shared.runtime.process.migrate import migrate

    url = call.settings.database_url.get_secret_value()
    revision = await migrate(call.commands.service, url, SystemClock())
    _say(f"{call.commands.service} is at revision {revision}")
    return EXIT_OK


async def _topics(call: _Call[Settings]) -> int:
    # aiokafka, which no API needs
    from shared.runtime.messaging.topics import create_topics

    await create_topics(
        call.settings.kafka_bootstrap_servers,
        replication_factor=call.settings.kafka_replication_factor,
    )
    _say("all topics are there")
    return EXIT_OK


async def _list(call: _Call[Settings]) -> int:
    database = call.open_database()
    try:
        letters = await dead_letters.list_dead_letters(
            database, call.consumer(), resolved=call.arguments.resolved, row_count=LISTED_MAX
        )
    finally:
        await database.close()
    for letter in letters:
        _say(_line(letter))
    _say(f"{len(letters)} dead letters")
    return EXIT_OK


async def _show(call: _Call[Settings]) -> int:
    database = call.open_database()
    try:
        letter = await dead_letters.show_dead_letter(database, call.consumer(), call.arguments.id)
    finally:
        await database.close()
    _say(_line(letter))
    _say(f"tries: {letter.try_count}")
    for name, value in letter.headers:
        _say(f"{name}: {value.decode(errors='replace')}")
    _say((letter.body or b"").decode(errors="replace"))
    return EXIT_OK


async def _replay(call: _Call[Settings]) -> int:
    database, consumer, chosen = call.open_database(), call.consumer(), call.arguments
    try:
        if chosen.all:
            applied = await dead_letters.replay_all(database, consumer)
        elif chosen.id is not None:
            applied = await dead_letters.replay_letter(database, consumer, chosen.id)
        else:
            key = chosen.key.encode()
            applied = await dead_letters.replay_key(database, consumer, chosen.topic, key)
    finally:
        await database.close()
    _say(f"{applied} records applied")
    return EXIT_OK


async def _discard(call: _Call[Settings]) -> int:
    database, chosen = call.open_database(), call.arguments
    try:
        is_waiting = await dead_letters.discard(
            database, call.consumer(), chosen.id, reason=chosen.reason
        )
    finally:
        await database.close()
    _say("discarded" + ("; its key waits for a replay" if is_waiting else ""))
    return EXIT_OK


async def _reset_positions(call: _Call[Settings]) -> int:
    database, consumer, topic = call.open_database(), call.consumer(), call.arguments.topic
    if topic is not None and topic not in consumer.topics:
        known = ", ".join(consumer.topics)
        exit_with_sentence(f"{consumer.name} does not read {topic}: it reads {known}.")
    try:
        async with database.transaction() as unit:
            count = await reset_positions(unit.connection, consumer.name, topic)
    finally:
        await database.close()
    _say(f"{count} partitions will be read again from their beginning")
    return EXIT_OK


async def _resend(call: _Call[Settings]) -> int:
    chosen = call.arguments
    database = call.open_database()
    try:
        count = await resend(
            database,
            Range(
                event_ids=tuple(chosen.event_id or ()),
                first_id=chosen.from_id,
                last_id=chosen.to_id,
                since=chosen.since,
                until=chosen.until,
            ),
        )
    finally:
        await database.close()
    _say(f"{count} events will be sent again by the worker")
    return EXIT_OK


class _Parser(argparse.ArgumentParser):
    """argparse, but wrong use is one sentence."""

    def error(self, message: str) -> NoReturn:
        exit_with_sentence(f"{self.prog}: {message} (see --help)")


def _parser(commands: ServiceCommands[Settings]) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"python -m services.{commands.service}")
    actions = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in commands.processes:
        actions.add_parser(name, help=f"run the {name} process").set_defaults(act=_process)
    actions.add_parser("migrate", help="bring the tables up to date").set_defaults(act=_migrate)
    actions.add_parser("topics", help="create missing topics").set_defaults(act=_topics)
    if commands.consumer is not None:
        _add_dead_letters(actions.add_parser("dead-letters", help="parked records"))
        _add_positions(actions.add_parser("positions", help="where reading goes on"))
    _add_events(actions.add_parser("events", help="events that were sent"))
    for command in commands.own:
        own = actions.add_parser(command.name, help=command.help)
        own.set_defaults(act=_own)
        command.add(own)
    return parser


def _add_dead_letters(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")

    listing = actions.add_parser("list", help="the open ones, oldest first")
    listing.add_argument("--resolved", action="store_true", help="the settled ones too")
    listing.set_defaults(act=_list)

    show = actions.add_parser("show", help="one, with headers and body")
    show.add_argument("id", type=int)
    show.set_defaults(act=_show)

    replay = actions.add_parser("replay", help="apply what waits, in its order")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true")
    which.add_argument("--id", type=int, help="this one, with all of its key")
    which.add_argument("--key", help="all of this key; needs --topic")
    replay.add_argument("--topic")
    replay.set_defaults(act=_replay, check=_check_replay)

    discard = actions.add_parser("discard", help="give one up for good")
    discard.add_argument("id", type=int)
    discard.add_argument("--reason", required=True)
    discard.set_defaults(act=_discard)


def _add_positions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    reset = actions.add_parser("reset", help="read everything again; what was applied stays")
    reset.add_argument("--topic", help="only this one")
    reset.add_argument("--yes", action="store_true", help="needed: two weeks are read again")
    reset.set_defaults(act=_reset_positions, check=_check_reset)


def _add_events(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    sending = actions.add_parser("resend", help="send events again, with their ids and bodies")
    sending.add_argument("--event-id", type=UUID, action="append")
    sending.add_argument("--since", type=_instant, help="ISO 8601 with an offset")
    sending.add_argument("--until", type=_instant)
    sending.add_argument("--from-id", type=int, help="outbox number")
    sending.add_argument("--to-id", type=int)
    sending.set_defaults(act=_resend, check=_check_resend)


def _check_replay(arguments: argparse.Namespace) -> str | None:
    if (arguments.key is None) != (arguments.topic is None):
        return "--key and --topic go together"
    return None


def _check_reset(arguments: argparse.Namespace) -> str | None:
    if not arguments.yes:
        return "this reads the whole log again: add --yes to do it"
    return None


def _check_resend(arguments: argparse.Namespace) -> str | None:
    given = (arguments.event_id, arguments.since, arguments.from_id)
    if all(value is None for value in given):
        return "say which events: --event-id, --since or --from-id"
    return None


def _instant(value: str) -> datetime:
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(value)
    return instant


def _line(letter: DeadLetter) -> str:
    return (
        f"{letter.id} {letter.status} {letter.event_type or '?'} {letter.reference} "
        f"{letter.place} {to_rfc3339(letter.parked_at)} {letter.error_kind}: {letter.error}"
    )


def _version() -> str:
    try:
        return version("songhe")
    except PackageNotFoundError:
        return "unknown"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

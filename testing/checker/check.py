"""The one function: history, books and world in, broken promises out."""

from collections.abc import Collection, Iterator, Mapping

from testing.checker import agreement, history, loss, money
from testing.checker.story import Books, History, World
from testing.checker.violations import Kind, Violation

# Our gateway can be asked by reference before a message is sent again.
SMS_PER_MESSAGE_MAX = 1


def check(
    history_of_clients: History,
    books: Books,
    world: World,
    *,
    sms_per_message_max: int = SMS_PER_MESSAGE_MAX,
    cut_topics: Collection[str] = (),
) -> list[Violation]:
    """Every promise that the world at rest breaks, in the order lost, doubled, stuck, wrong.

    `sms_per_message_max`: how often one message may reach a phone; more than once only with a
    provider that cannot be asked what became of a message. `cut_topics`: the broker lost records
    there, so what was told first is gone and the order of first occurrences is not judged.
    """
    found = [
        *loss.violations(history_of_clients, world),
        *money.violations(books, world),
        *history.violations(world, cut_topics=cut_topics),
        *agreement.violations(books, world, sms_per_message_max=sms_per_message_max),
    ]
    return sorted(found, key=lambda each: list(Kind).index(each.kind))


def check_unchanged(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> Iterator[Violation]:
    """What a replay changed: service → table → hash, as `state_hashes` gives it."""
    for service in sorted({*before, *after}):
        tables_before, tables_after = before.get(service, {}), after.get(service, {})
        for table in sorted({*tables_before, *tables_after}):
            was, became = tables_before.get(table), tables_after.get(table)
            if was != became:
                yield Violation(
                    Kind.STATE_CHANGED, f"{service}.{table}", f"it was {was} and is {became}"
                )

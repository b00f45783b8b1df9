"""Refunds."""

from collections.abc import Sequence

from services.payment.adapters.postgres.columns import (
    REFUND,
    refund_row,
)
from services.payment.domain.refund import Refund
from shared.runtime.database.set_statements import (
    binds,
    insert,
)
from shared.runtime.database.statements import Connection

INSERT_REFUNDS = insert("refund", REFUND, "ON CONFLICT (id) DO NOTHING")


class PostgresRefunds:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def request(self, refunds: Sequence[Refund]) -> None:
        if refunds:
            rows = [refund_row(refund) for refund in refunds]
            await self._connection.execute(INSERT_REFUNDS, binds(REFUND, rows))

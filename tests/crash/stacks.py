"""The two private stacks that faults are planted in: core mode, and the real wire with sandbox."""

import signal
from collections.abc import Mapping, Sequence

from devstack.processes import STACK_MARK
from testing.checker import Books, Charge
from testing.stacks.book import Book
from testing.stacks.core_stack import CoreStack
from tests.integration.support.books import sandbox_books

# Five processes at once, on a machine that others use too.
START_SECONDS = 120.0
APIS = ("billing-api", "identity-api")
PAYMENT_API = "payment-api"
WIRE_WORKERS = ("billing-worker", "payment-worker", "notifier-worker")
# Lost events heal within the patience of a test; leases of the dead end soon.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "billing": {"SONGHE_BILLING_ASK_AFTER_SECONDS": "5", "SONGHE_BILLING_ASK_CAP_SECONDS": "20"},
    "payment": {
        "SONGHE_PAYMENT_CALL_TIMEOUT_SECONDS": "3",
        "SONGHE_PAYMENT_LEASE_SECONDS": "10",
    },
}


class CrashStack(CoreStack):
    """In core mode: contributions are requested in sets, channel and SMS answer in process."""

    def books(self) -> Books:
        """What the outside world remembers."""
        book = Book.read(self.book_dir)
        return Books(
            charges=[Charge(each.id, each.amount_fen) for each in book.charges.entries.values()],
            sms=list(book.messages.entries),
        )


class WireStack(CrashStack):
    """The product as it is, with the sandbox outside; names are `<service>-api` too."""

    apis: tuple[str, ...] = APIS

    def up(self) -> None:
        self.up_servers()
        # Identity's worker sends nothing, and nobody looks at payment's or notifier's API.
        self._run("identity", "migrate")
        self.stack.start("sandbox")
        for name in (*self.apis, *WIRE_WORKERS):
            self.launch(name)
        for name in (*self.apis, *WIRE_WORKERS):
            self.wait_until_ready(name, seconds=START_SECONDS)

    def launch(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        service, process = name.split("-")[:2]
        if process == "worker":
            arguments = argv or ["-m", f"services.{service}", "worker"]
            super().launch(name, environment=environment, argv=arguments)
            return
        if self.is_running(name):
            return
        settings = {
            **self.settings_of(service, process),
            STACK_MARK: str(self.stack.state_dir),
            **(environment or {}),
        }
        arguments = ["-m", f"services.{service}", process]
        self._start(name, arguments, settings, self.stack.metrics[name])

    def settings_of(self, service: str, process: str) -> dict[str, str]:
        return self.stack.environment_for(service, process)

    def books(self) -> Books:
        return sandbox_books(self.stack.state_dir / "sandbox")


class CashierStack(WireStack):
    """The same with payment's API, to which payers and the cashiers' notifications come."""

    apis = (*APIS, PAYMENT_API)

    def settings_of(self, service: str, process: str) -> dict[str, str]:
        """There is no entry here: notifications come to the API itself."""
        settings = super().settings_of(service, process)
        if service == "payment":
            settings["SONGHE_PAYMENT_CALLBACK_BASE_URL"] = self.stack.urls["payment"]
        return settings


def died_at(stack: CoreStack, name: str, point: str) -> bool:
    """Whether the process ended by SIGKILL at this crash point and not otherwise."""
    told = f"crash point {point} reached, process killed"
    return stack.exit_code(name) == -signal.SIGKILL and told in stack.log(name).read_text(
        errors="replace"
    )

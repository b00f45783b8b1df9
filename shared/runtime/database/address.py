"""The address of a database as the settings give it: a URL whose scheme names the driver."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

# A password may hold anything but `@`, even what would end it in the URL of a page.
URL = re.compile(
    r"\w+\+(?P<driver>\w+)://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^\]/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[0-9]+))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<options>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is, and as whom to enter it; its text holds no password."""

    driver: str
    # What the URL gives of host, port, user, password and database.
    connection: Mapping[str, Any] = field(repr=False)
    # What stands behind its question mark, for the driver.
    options: Mapping[str, str] = field(repr=False)


def parse_address(url: str) -> DatabaseAddress:
    """As `postgresql+asyncpg://host:port/database?option=value`, with user and password before `@`.

    All of it is percent-decoded. Raises ValueError, without the URL, where it is none.
    """
    found = URL.fullmatch(url)
    if found is None:
        raise ValueError("not the URL of a database: driver, host, port or user cannot be read")
    given = {
        "host": found["ipv6"] or found["host"],
        "user": found["user"],
        "password": found["password"],
        "database": found["database"],
    }
    connection: dict[str, Any] = {name: unquote(value) for name, value in given.items() if value}
    if found["port"]:
        connection["port"] = int(found["port"])
    return DatabaseAddress(
        driver=found["driver"],
        connection=connection,
        options=dict(parse_qsl(found["options"] or "")),
    )

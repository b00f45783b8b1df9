"""Logs are JSON lines on stdout: ids in, personal data out.

Only fields whose names are known are written as they are; the texts of all fields pass a
second net that blanks phone numbers, codes and tokens wherever they appear.
"""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import Processor

BLANK = "[removed]"

# Names under which somebody may log a secret by mistake; whatever is in them is blanked.
SECRET_NAMES = re.compile(
    r"phone|mobile|msisdn|code$|codes$|token|secret|password|authorization|cookie|ticket|"
    r"plaintext|id_number|recipient|contact|body$",
    re.IGNORECASE,
)
# Fields that end like secrets and are none.
HARMLESS_NAMES = frozenset({"status_code", "error_code", "problem_code", "exit_code"})

# The second net, over every text: what looks like one of these goes, whatever its field.
SECRET_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+"), BLANK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {BLANK}"),
    # Mobile numbers of China, with or without the country code, but not inside of an id.
    (
        re.compile(r"(?<![0-9A-Za-z-])(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?![0-9A-Za-z-])"),
        BLANK,
    ),
    # Citizen ID numbers.
    (re.compile(r"(?<![0-9A-Za-z-])\d{17}[0-9Xx](?![0-9A-Za-z-])"), BLANK),
    (re.compile(r"(?i)((?:ticket|token|code|key|password)=)[^&\s\"']+"), rf"\1{BLANK}"),
    # The password of a URL; Redis has no user before it.
    (re.compile(r"(\w+://[^:/@\s]*:)[^@/\s]+@"), rf"\1{BLANK}@"),
)
# Each of them needs one of these: most texts of a log line have none, and are looked at once.
SUSPICIOUS = re.compile(r"\d(?:[ -]?\d){10}|=|eyJ|://|(?i:bearer|basic)")
# The shortest number that is a phone's has so many digits.
PHONE_DIGITS = 11
TEXT_CHARACTERS_MAX = 16_000
DEPTH_MAX = 4

# Chatty at INFO: a line per group join, heartbeat, statement or migration step.
QUIET_LOGGERS = (
    "aiokafka",
    "kafka",
    "sqlalchemy",
    "asyncio",
    "httpx2",
    "httpcore2",
    "uvicorn",
    "faust",
    "mode",
)


def configure_logs(*, service: str, process: str, level: str = "INFO") -> None:
    """Send structlog and stdlib logging of this process to stdout as JSON lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _naming(service, process),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                remove_personal_data,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _quiet(QUIET_LOGGERS, level)
    logging.captureWarnings(True)


def remove_personal_data(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The last processor before the renderer: nothing that looks like a secret passes."""
    for name, value in event.items():
        event[name] = BLANK if _is_secret(name) else _cleaned(value, DEPTH_MAX)
    return event


# Names are written in code, so they are few; more than that are a stranger's.
@lru_cache(maxsize=1_000)
def _is_secret(name: str) -> bool:
    return name not in HARMLESS_NAMES and SECRET_NAMES.search(name) is not None


def _cleaned(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 10 ** (PHONE_DIGITS - 1):
        return value
    if isinstance(value, int):
        # A phone number without its plus sign is an integer to somebody.
        return value if str(value) == _cleaned_text(str(value)) else BLANK
    if isinstance(value, dict) and depth:
        return {
            _cleaned_text(str(name)): BLANK if _is_secret(str(name)) else _cleaned(part, depth - 1)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_cleaned(part, depth - 1) for part in value]
    return _cleaned_text(str(value))


def _cleaned_text(value: str) -> str:
    value = value[:TEXT_CHARACTERS_MAX]
    if not SUSPICIOUS.search(value):
        return value
    for pattern, replacement in SECRET_TEXTS:
        value = pattern.sub(replacement, value)
    return value


def _naming(service: str, process: str) -> Processor:
    def add_names(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        event["process"] = process
        return event

    return add_names


def _quiet(names: Iterable[str], level: str) -> None:
    least = logging.DEBUG if level == "DEBUG" else logging.WARNING
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(least)

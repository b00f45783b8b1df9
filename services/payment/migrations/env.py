"""Alembic's entry: this service's tables only."""

from shared.runtime.migrations import run_env

run_env()

"""Alembic's entry: this service's tables only."""

from shared.runtime.process.migrations import run_env

run_env()

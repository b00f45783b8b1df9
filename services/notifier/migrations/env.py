"""Alembic's entry; everything is in the runtime."""

from shared.runtime.process.migrations import run_env

run_env()

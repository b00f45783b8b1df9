"""Alembic's entry; everything it does is the same for every service."""

from shared.runtime.process.migrations import run_env

run_env()

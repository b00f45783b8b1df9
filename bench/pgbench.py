"""pgbench from the wheel, on the same server: what this disk and these cores commit at best."""

import os
import re
import subprocess

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from devstack.postgres import binary

DATABASE = "songhe_pgbench"
SCALE = 20
DEADLINE_SECONDS = 300.0
TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def prepare(superuser_url: str) -> None:
    """Make the database and fill it: `pgbench -i -s 20`."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        name = sql.Identifier(DATABASE)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    _run(superuser_url, "-i", "-s", str(SCALE), "-q")


def transactions_per_second(superuser_url: str, *, seconds: int) -> float:
    """`pgbench -N -M prepared -c 16 -j 2`: simple updates, each with its own commit."""
    out = _run(superuser_url, "-N", "-M", "prepared", "-c", "16", "-j", "2", "-T", str(seconds))
    found = TPS.search(out)
    if found is None:
        raise RuntimeError(f"pgbench told no tps: {out[-300:]}")
    return float(found.group(1))


def _run(superuser_url: str, *arguments: str) -> str:
    url = make_url(superuser_url)
    done = subprocess.run(
        [
            str(binary("pgbench")),
            *("-h", url.host or "", "-p", str(url.port), "-U", url.username or ""),
            *arguments,
            DATABASE,
        ],
        env={**os.environ, "PGPASSWORD": str(url.password)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-500:]}")
    return done.stdout

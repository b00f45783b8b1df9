"""The images of the servers; their tags stand in `.env` and nowhere else."""

from pathlib import Path

from dotenv import dotenv_values

from devstack.plan import ROOT


def images(env_file: Path = ROOT / ".env") -> dict[str, str]:
    """Server → image, the same that docker-compose.yml takes."""
    tags = dotenv_values(env_file)
    return {
        "postgres": f"postgres:{tags['POSTGRES_TAG']}",
        "redis": f"redis:{tags['REDIS_TAG']}",
        "kafka": f"apache/kafka:{tags['KAFKA_TAG']}",
    }

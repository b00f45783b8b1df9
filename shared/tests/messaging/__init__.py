"""The messaging runtime on the real PostgreSQL and the real Kafka."""

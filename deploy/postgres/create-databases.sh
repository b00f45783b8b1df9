#!/bin/sh
# Runs once, when PostgreSQL makes its data folder: one database and one role per service, and
# none may enter another's. Passwords come from the environment, made by `make keys`.
set -eu

for service in identity billing payment notifier; do
  role="songhe_$service"
  eval "password=\$$(printf '%s' "$service" | tr '[:lower:]' '[:upper:]')_PASSWORD"
  psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres <<SQL
CREATE ROLE $role LOGIN PASSWORD '$password';
CREATE DATABASE $role OWNER $role;
REVOKE CONNECT ON DATABASE $role FROM PUBLIC;
SQL
done
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres \
  -c 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC'

#!/bin/sh
#
# What the official image of Postgres does at its start, as far as compose.yaml asks for it.

set -eu

if [ "$(id -u)" = 0 ]; then
  chown postgres "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || { echo 'POSTGRES_PASSWORD is empty' >&2; exit 1; }
  password=$(mktemp)
  printf %s "$POSTGRES_PASSWORD" > "$password"
  initdb -U "$POSTGRES_USER" --pwfile="$password" --auth-host=scram-sha-256 --auth-local=trust -E UTF8 --locale=C.UTF-8 > /dev/null
  rm "$password"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  # By the socket alone, so that nobody takes it for ready before its database is there.
  pg_ctl -w -o "-c listen_addresses=''" start > /dev/null
  createdb -U "$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  pg_ctl -w stop > /dev/null
fi
exec postgres -c listen_addresses='*' "$@"

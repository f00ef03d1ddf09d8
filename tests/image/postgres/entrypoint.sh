#!/bin/sh
# Makes the cluster and POSTGRES_DB at the first start, then becomes the server; any other command is
# run as it is.
set -eu

[ "$1" = postgres ] || exec "$@"
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

# as the official image from 18 on
if [ "$PGDATA" = /var/lib/postgresql/18/docker ] && grep -q ' /var/lib/postgresql/data ' /proc/self/mounts; then
  echo 'Error: there appears to be PostgreSQL data in /var/lib/postgresql/data (unused mount/volume)' >&2
  exit 1
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?must be set}"
  password_file=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" > "$password_file"
  initdb --username="$user" --pwfile="$password_file" --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync > /dev/null
  rm "$password_file"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  [ "$database" = postgres ] \
    || echo "CREATE DATABASE \"$database\"" | postgres --single -D "$PGDATA" template1 > /dev/null
fi

exec "$@" -c listen_addresses='*' -c unix_socket_directories=/tmp

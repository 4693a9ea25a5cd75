# The Postgres of a set of servers. Sourced by scripts/services.sh.
# shellcheck shell=bash disable=SC2154,SC2016

# Postgres refuses to run as root, so root lends it the user that Debian's package made. Closes the lock for what stays running.
as_postgres () {
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec runuser -u postgres -- "$@" 9>&-)
  else
    (cd / && exec "$@" 9>&-)
  fi
}

# In .run/ when the user that owns it can come there, else in a temporary folder.
make_postgres_folder () {
  local folder=$run/postgres
  if [ "$(id -u)" = 0 ] && ! as_postgres test -x "$run"; then folder=$(mktemp -d "${TMPDIR:-/tmp}/threadline-postgres.XXXXXX"); fi
  remember POSTGRES_FOLDER "$folder"
  mkdir -p "$folder"
  chmod 700 "$folder"
  [ "$(id -u)" != 0 ] || chown postgres "$folder"
}

# The programs themselves where that user can come there, else a copy of them beside the data.
find_postgres_programs () {
  local folder=$1 bin
  bin=$(installed_postgres)
  if ! as_postgres test -x "$bin/postgres"; then
    cp -r "$bin/.." "$folder/programs"
    chmod -R go+rX "$folder/programs"
    bin=$folder/programs/bin
  fi
  remember POSTGRES_BIN "$bin"
}

postgres_bin () {
  if [ "$set" = debian ]; then debian_postgres; else recall POSTGRES_BIN; fi
}

start_postgres () {
  local bin folder port superuser_password app_password attempt
  make_postgres_folder
  folder=$(recall POSTGRES_FOLDER)
  find_postgres_programs "$folder"
  bin=$(postgres_bin)
  superuser_password=$(secret)
  app_password=$(secret)

  echo "$superuser_password" | as_postgres sh -c 'umask 077; cat > "$1"' sh "$folder/password"
  as_postgres timeout "$start_timeout" "$bin/initdb" -D "$folder/data" -U postgres --pwfile="$folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync > "$run/postgres.log" 2>&1 ||
    { cat "$run/postgres.log" >&2; fail 'initdb failed'; }
  as_postgres rm "$folder/password"

  for attempt in 1 2 3; do
    port=$(free_port)
    if launch_postgres "$folder" "$port"; then break; fi
    [ "$attempt" -lt 3 ] || { cat "$folder/log" >&2; fail 'Postgres did not start'; }
  done

  PGPASSWORD=$superuser_password PGCONNECT_TIMEOUT=$check_timeout timeout "$start_timeout" \
    "$(debian_postgres)/psql" -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres postgres << SQL
CREATE ROLE threadline LOGIN CREATEROLE CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD '$app_password';
CREATE DATABASE threadline OWNER threadline;
SQL
  remember DATABASE_URL "postgres://threadline:$app_password@127.0.0.1:$port/threadline"
}

launch_postgres () {
  local folder=$1 port=$2
  as_postgres "$(postgres_bin)/pg_ctl" start -D "$folder/data" -l "$folder/log" -w -t "$start_timeout" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300" > /dev/null
}

# One among the temporary ones may have been cleaned away, and then there is nothing to come back with.
has_postgres_folder () { [ -d "$(recall POSTGRES_FOLDER)" ]; }

# With the data and at the address that it had.
restart_postgres () {
  local folder port
  folder=$(recall POSTGRES_FOLDER)
  port=$(recall DATABASE_URL | sed -E 's/.*:([0-9]+)\/.*/\1/')
  # One that was killed this very moment is still on its way out.
  wait_for postgres_gone "$folder" || fail "Postgres runs and does not answer: see $folder/log"
  launch_postgres "$folder" "$port" || { cat "$folder/log" >&2 || true; fail "Postgres did not start again; scripts/services.sh stop $set deletes it"; }
}

postgres_gone () { ! as_postgres "$(postgres_bin)/pg_ctl" status -D "$1/data" > /dev/null 2>&1; }

postgres_answers () {
  PGCONNECT_TIMEOUT=$check_timeout timeout "$check_timeout" \
    "$(debian_postgres)/psql" -qtAX -c 'SELECT 1' "$(recall DATABASE_URL)" > /dev/null 2>&1
}

# Only the server on this very folder is ended: pg_ctl reads its process id there.
stop_postgres () {
  local folder
  folder=$(recall POSTGRES_FOLDER) || return 0
  [ -n "$folder" ] && [ -d "$folder" ] || return 0
  if [ -f "$folder/data/postmaster.pid" ]; then
    as_postgres "$(postgres_bin)/pg_ctl" stop -D "$folder/data" -m fast -w -t "$start_timeout" > /dev/null 2>&1 ||
      as_postgres "$(postgres_bin)/pg_ctl" stop -D "$folder/data" -m immediate -w -t "$check_timeout" > /dev/null 2>&1 || true
    ! as_postgres "$(postgres_bin)/pg_ctl" status -D "$folder/data" > /dev/null 2>&1 || fail "Postgres in $folder did not stop"
  fi
  rm -rf "$folder"
}

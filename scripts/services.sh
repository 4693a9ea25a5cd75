#!/usr/bin/env bash
#
# A Postgres and a Redis of this checkout's own, for tests and development: loopback only, on free ports, with passwords
# made at each start, and with data that `stop` deletes.
#
#   scripts/services.sh install  installs what is missing (Debian, as root), also the `promtool` that tests the alert rules, and PgBouncer
#   scripts/services.sh start    the same for both servers, and starts them; does nothing when both run
#   scripts/services.sh env      prints DATABASE_URL=… and REDIS_URL=… for: export $(scripts/services.sh env)
#   scripts/services.sh stop     ends what `start` began, and nothing else; does nothing when nothing runs
#
# The role in DATABASE_URL owns its database and may create roles and databases, but is no superuser, so row-level security
# holds for it as in production.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
run=$root/.run
state=$run/services
install_timeout=600
start_timeout=60
check_timeout=10

say () { echo "services: $*" >&2; }
fail () { say "$*"; exit 1; }
secret () { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# Postgres refuses to run as root, so root lends it the user that its package made. Closes the lock for what stays running.
as_postgres () {
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec runuser -u postgres -- "$@" 9>&-)
  else
    (cd / && exec "$@" 9>&-)
  fi
}

postgres_bin () {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v pg_ctl || echo /missing/pg_ctl)")"; do
    if [ -x "$dir/pg_ctl" ] && [ -x "$dir/initdb" ] && [ -x "$dir/psql" ]; then echo "$dir"; return; fi
  done
  return 1
}

# Takes the names of further packages.
install_missing () {
  local missing=("$@")
  postgres_bin > /dev/null || missing+=(postgresql)
  if ! command -v redis-server > /dev/null || ! command -v redis-cli > /dev/null; then missing+=(redis-server); fi
  [ ${#missing[@]} -gt 0 ] || return 0

  command -v apt-get > /dev/null || fail "install ${missing[*]} first: there is no apt-get here"
  [ "$(id -u)" = 0 ] || fail "install ${missing[*]} first, or run this as root"
  say "installing ${missing[*]}"

  # A package of a server starts the server; the machine's own is not ours to start.
  local policy=/usr/sbin/policy-rc.d made_policy=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
    made_policy=yes
  fi
  local failed=
  apt_get update && apt_get install -y --no-install-recommends "${missing[@]}" || failed=yes
  [ -z "$made_policy" ] || rm -f "$policy"
  [ -z "$failed" ] || fail "could not install ${missing[*]}"
}

apt_get () {
  DEBIAN_FRONTEND=noninteractive timeout "$install_timeout" apt-get -qq "$@" < /dev/null > /dev/null 9>&-
}

# Below the range from which the system takes ports for outgoing connections.
free_port () {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! timeout 2 bash -c "exec 3<> /dev/tcp/127.0.0.1/$port" 2> /dev/null; then echo "$port"; return; fi
  done
}

remember () { echo "$1=$2" >> "$state"; }
recall () { [ -f "$state" ] && sed -n "s/^$1=//p" "$state" | tail -n 1; }

# In .run/ when the user that owns it can come there, else in a temporary folder.
make_postgres_folder () {
  local folder=$run/postgres
  if [ "$(id -u)" = 0 ] && ! as_postgres test -x "$run"; then folder=$(mktemp -d "${TMPDIR:-/tmp}/threadline-postgres.XXXXXX"); fi
  remember POSTGRES_FOLDER "$folder"
  mkdir -p "$folder"
  chmod 700 "$folder"
  [ "$(id -u)" != 0 ] || chown postgres "$folder"
}

start_postgres () {
  local bin folder port superuser_password app_password attempt
  bin=$(postgres_bin)
  make_postgres_folder
  folder=$(recall POSTGRES_FOLDER)
  superuser_password=$(secret)
  app_password=$(secret)

  echo "$superuser_password" | as_postgres sh -c 'umask 077; cat > "$1"' sh "$folder/password"
  as_postgres timeout "$start_timeout" "$bin/initdb" -D "$folder/data" -U postgres --pwfile="$folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync > "$run/postgres.log" 2>&1 ||
    { cat "$run/postgres.log" >&2; fail 'initdb failed'; }
  as_postgres rm "$folder/password"

  for attempt in 1 2 3; do
    port=$(free_port)
    if as_postgres "$bin/pg_ctl" start -D "$folder/data" -l "$folder/log" -w -t "$start_timeout" \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300" > /dev/null; then break; fi
    [ "$attempt" -lt 3 ] || { cat "$folder/log" >&2; fail 'Postgres did not start'; }
  done

  PGPASSWORD=$superuser_password PGCONNECT_TIMEOUT=$check_timeout timeout "$start_timeout" \
    "$bin/psql" -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres postgres << SQL
CREATE ROLE threadline LOGIN CREATEROLE CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD '$app_password';
CREATE DATABASE threadline OWNER threadline;
SQL
  remember DATABASE_URL "postgres://threadline:$app_password@127.0.0.1:$port/threadline"
}

start_redis () {
  local folder=$run/redis port password attempt
  password=$(secret)
  mkdir -p "$folder"
  chmod 700 "$folder"
  remember REDIS_PASSWORD "$password"

  for attempt in 1 2 3; do
    port=$(free_port)
    printf '%s\n' "bind 127.0.0.1" "port $port" "requirepass $password" "dir \"$folder\"" "pidfile \"$folder/pid\"" \
      "logfile \"$folder/log\"" 'daemonize yes' 'save ""' 'appendonly no' > "$folder/redis.conf"
    remember REDIS_PORT "$port"
    timeout "$check_timeout" redis-server "$folder/redis.conf" > /dev/null 9>&-
    if wait_for redis_answers; then
      remember REDIS_URL "redis://default:$password@127.0.0.1:$port/0"
      return
    fi
  done
  cat "$folder/log" >&2
  fail 'Redis did not start'
}

wait_for () {
  local end=$((SECONDS + check_timeout))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

redis_command () {
  REDISCLI_AUTH=$(recall REDIS_PASSWORD) timeout "$check_timeout" redis-cli -h 127.0.0.1 -p "$(recall REDIS_PORT)" "$@" 2> /dev/null
}

redis_answers () { [ "$(redis_command ping)" = PONG ]; }

postgres_answers () {
  PGCONNECT_TIMEOUT=$check_timeout timeout "$check_timeout" \
    "$(postgres_bin)/psql" -qtAX -c 'SELECT 1' "$(recall DATABASE_URL)" > /dev/null 2>&1
}

both_answer () {
  [ -n "$(recall DATABASE_URL)" ] && [ -n "$(recall REDIS_URL)" ] && postgres_answers && redis_answers
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

# The password shows that it is ours. One that no longer answers is known by its working folder, not by its number alone.
stop_redis () {
  local folder=$run/redis pid
  [ -d "$folder" ] || return 0
  pid=$(cat "$folder/pid" 2> /dev/null || true)
  redis_command shutdown nosave > /dev/null || true
  if ! wait_for redis_gone "$pid"; then
    kill -KILL "$pid"
    wait_for redis_gone "$pid" || fail "Redis with process id $pid did not stop"
  fi
  rm -rf "$folder"
}

redis_gone () {
  [ -z "$1" ] || [ "$(readlink "/proc/$1/cwd" 2> /dev/null)" != "$run/redis" ]
}

stop () {
  stop_redis
  stop_postgres
  rm -f "$state" "$run/postgres.log"
}

start () {
  if both_answer; then say 'already running'; return; fi
  stop
  install_missing
  (umask 077; : > "$state")
  trap 'trap - EXIT; stop' EXIT
  start_postgres
  start_redis
  trap - EXIT
  say 'Postgres and Redis run'
}

install () {
  local missing=()
  command -v promtool > /dev/null || missing+=(prometheus)
  [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  install_missing "${missing[@]}"
}

print_env () {
  both_answer || fail 'not running: scripts/services.sh start'
  sed -n -E '/^(DATABASE_URL|REDIS_URL)=/p' "$state"
}

usage () { sed -n '3,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

case "${1:-}" in
  install | start | stop)
    mkdir -p "$run" && chmod 755 "$run"
    exec 9> "$run/services.lock"
    flock -w $((install_timeout + 2 * start_timeout)) 9 || fail 'another start or stop takes too long'
    "$1"
    ;;
  env) print_env ;;
  *) usage ;;
esac

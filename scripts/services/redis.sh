# The Redis, or Valkey, of a set of servers. Sourced by scripts/services.sh.
# shellcheck shell=bash disable=SC2154

# At the address that it had, when it was killed and nobody else has taken that.
start_redis () {
  local folder=$run/redis program port password
  program=$(redis_program)
  password=$(recall REDIS_PASSWORD)
  [ -n "$password" ] || password=$(secret)
  mkdir -p "$folder"
  chmod 700 "$folder"
  remember REDIS_PASSWORD "$password"

  for port in $(recall REDIS_PORT) $(free_port) $(free_port) $(free_port); do
    printf '%s\n' "bind 127.0.0.1" "port $port" "requirepass $password" "dir \"$folder\"" "pidfile \"$folder/pid\"" \
      "logfile \"$folder/log\"" 'daemonize yes' 'save ""' 'appendonly no' > "$folder/redis.conf"
    remember REDIS_PORT "$port"
    timeout "$check_timeout" "$program" "$folder/redis.conf" > /dev/null 9>&-
    if wait_for redis_answers; then
      remember REDIS_URL "redis://default:$password@127.0.0.1:$port/0"
      return
    fi
  done
  cat "$folder/log" >&2
  fail 'Redis did not start'
}

redis_command () {
  REDISCLI_AUTH=$(recall REDIS_PASSWORD) timeout "$check_timeout" redis-cli -h 127.0.0.1 -p "$(recall REDIS_PORT)" "$@" 2> /dev/null
}

redis_answers () { [ "$(redis_command ping)" = PONG ]; }

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

# A port on loopback that nobody listens at. Sourced by scripts/services.sh and scripts/cluster.sh.
# shellcheck shell=bash

# Below the range from which the system takes ports for outgoing connections.
free_port () {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! timeout 2 bash -c "exec 3<> /dev/tcp/127.0.0.1/$port" 2> /dev/null; then echo "$port"; return; fi
  done
}

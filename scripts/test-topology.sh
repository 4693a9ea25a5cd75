#!/usr/bin/env bash
#
# The tests whose service can be laid out in several ways, on the servers of scripts/services.sh: they are started where they do not run, and
# left running.
#
#   scripts/test-topology.sh files                prints which tests these are
#   scripts/test-topology.sh <topology> [file…]   runs them, or the named ones: embedded, postgres or cluster (test/support/topology.ts)
#   scripts/test-topology.sh server-files         prints which tests ask a server for something by themselves
#   scripts/test-topology.sh on <set> [file…]     runs these, or the named ones, on the servers of that set (scripts/services.sh) and not on the embedded database

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Those that ask for the topology, by themselves or by what they import.
files () {
  local known='test/support/topology.ts' found
  while :; do
    found=$(sed -E 's|.*/(.+)|/\1'"'"'|' <<< "$known" | grep -rlFf - test --include='*.ts' | sort -u - <(echo "$known"))
    [ "$found" != "$known" ] || break
    known=$found
  done
  grep -E '\.test\.ts$' <<< "$known" | grep -v '^test/cluster/'
}

# What they store, queue, carry and migrate is all that a version of Postgres or Redis can change. Those of whole services take longer than all of these.
server_files () {
  grep -rlE "support/(storage-databases|throwaway-database|service-login|pooler|redis-server)\.ts" \
    test/{bin,events,gateway,plugins,queue,storage} --include='*.test.ts' | grep -v pglite | sort
}

# run <topology> <set> [file…]
run () {
  local set=$2
  export TEST_TOPOLOGY=$1 PATH=$PWD/node_modules/.bin:$PATH
  shift 2
  scripts/services.sh start "$set"
  # shellcheck disable=SC2046 # assignments without spaces
  export $(scripts/services.sh env "$set" | sed 's/^/TEST_/')
  unset DATABASE_URL REDIS_URL
  # shellcheck disable=SC2046 # names of tests have no spaces
  [ $# -gt 0 ] || set -- $(files)
  exec tap "$@"
}

case "${1:-}" in
  files) files ;;
  embedded | postgres | cluster) run "$1" debian "${@:2}" ;;
  server-files) server_files ;;
  on)
    # shellcheck disable=SC2046 # names of tests have no spaces
    [ $# -gt 2 ] || set -- "$@" $(server_files)
    export TEST_DATABASES=server
    run cluster "${@:2}"
    ;;
  *) sed -n '6,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

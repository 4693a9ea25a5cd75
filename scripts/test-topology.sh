#!/usr/bin/env bash
#
# The tests whose service can be laid out in several ways, on the servers of scripts/services.sh: they are started where they do not run, and
# left running.
#
#   scripts/test-topology.sh files                prints which tests these are
#   scripts/test-topology.sh <topology> [file…]   runs them, or the named ones: embedded, postgres or cluster (test/support/topology.ts)

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

run () {
  export TEST_TOPOLOGY=$1 PATH=$PWD/node_modules/.bin:$PATH
  shift
  scripts/services.sh start
  # shellcheck disable=SC2046 # two assignments, without spaces
  export $(scripts/services.sh env | sed 's/^/TEST_/')
  unset DATABASE_URL REDIS_URL
  # shellcheck disable=SC2046 # names of tests have no spaces
  [ $# -gt 0 ] || set -- $(files)
  exec tap "$@"
}

case "${1:-}" in
  files) files ;;
  embedded | postgres | cluster) run "$@" ;;
  *) sed -n '6,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

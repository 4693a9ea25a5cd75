#!/usr/bin/env bash
#
# Builds the collector, with its own builder, and Jaeger into .run/bin, for machines without Docker. Needs Go and its module proxy.
# Does nothing for what is already there in the pinned version; two at once wait for each other. The first build takes minutes.
#
#   scripts/install-observability.sh          builds what is missing
#   scripts/install-observability.sh check    only says, by its exit code, whether both are there

set -euo pipefail

# The module's number for Jaeger 2.13: its tags of the second line are not Go module versions.
jaeger_version=1.76.0
lock_timeout=1800

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.run/bin
manifest=$root/scripts/otel-collector-builder.yaml
collector_version=$(sed -n 's/^  version: //p' "$manifest")

say () { echo "install-observability: $*"; }
fail () { say "$*" >&2; exit 1; }

# What a program was built from: with another manifest or another version it is built again.
stamp_of () {
  case $1 in
    otelcol) echo "$bin/.otelcol-$collector_version-$(sha256sum < "$manifest" | cut -c 1-12)" ;;
    jaeger) echo "$bin/.jaeger-$jaeger_version" ;;
  esac
}

is_there () { [ -x "$bin/$1" ] && [ -e "$(stamp_of "$1")" ]; }

build_otelcol () {
  GOBIN="$work" go install "go.opentelemetry.io/collector/cmd/builder@v$collector_version"
  # The manifest's output path is relative.
  (cd "$work" && ./builder --config "$manifest")
  mv "$work/collector/otelcol" "$bin/otelcol"
}

build_jaeger () {
  # Its go.mod replaces a module, which `go install` refuses, so it is built from a copy of its source. Of the web page there is only a
  # placeholder in the source; the query API is whole.
  local source
  source=$(go mod download -json "github.com/jaegertracing/jaeger@v$jaeger_version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  [ -n "$source" ] || return 1
  cp -r "$source" "$work/jaeger"
  chmod -R u+w "$work/jaeger"
  (cd "$work/jaeger" && go build -trimpath -ldflags '-s -w' -o "$work/jaeger-binary" ./cmd/jaeger)
  mv "$work/jaeger-binary" "$bin/jaeger"
}

install_missing () {
  local program started code
  command -v go > /dev/null || fail 'Go is needed to build the collector and Jaeger; with Docker: docker compose up -d'
  work=$(mktemp -d)
  # Go writes its module files read-only.
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  for program in otelcol jaeger; do
    if is_there "$program"; then continue; fi
    say "building $program, which takes minutes"
    rm -f "$bin/.$program"-*
    started=$SECONDS
    # Not `build || fail`: within it a failing command would not end the function.
    set +e
    (set -e; "build_$program")
    code=$?
    set -e
    [ "$code" = 0 ] || fail "$program could not be built; what Go said is above. It needs the module proxy: $(go env GOPROXY)"
    touch "$(stamp_of "$program")"
    say "$program is built, in $((SECONDS - started)) s"
  done
}

case "${1:-}" in
  check) is_there otelcol && is_there jaeger ;;
  '')
    mkdir -p "$bin"
    exec 9> "$bin/.lock"
    flock -w "$lock_timeout" 9 || fail 'another installation takes too long'
    if is_there otelcol && is_there jaeger; then say "the collector $collector_version and Jaeger $jaeger_version are there"; exit 0; fi
    install_missing
    ;;
  *) sed -n '3,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

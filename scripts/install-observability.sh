#!/usr/bin/env bash
# Builds the collector and Jaeger into .run/bin, for machines without Docker; `docker compose up -d` does the same with it.
# Needs Go. Does nothing for what is already there in the pinned version.
set -euo pipefail

collector_version=0.162.0
confmap_version=1.68.0
# The module's number for Jaeger 2.13: its tags of the second line are not Go module versions.
jaeger_version=1.76.0

root=$(cd "$(dirname "$0")/.." && pwd)
bin="$root/.run/bin"

command -v go > /dev/null || { echo "Go is needed to build the collector and Jaeger; or use: docker compose up -d" >&2; exit 1; }

mkdir -p "$bin"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

install_collector () {
  # Only what otel-collector.yaml names; the contrib distribution has it, too.
  cat > "$work/builder.yaml" <<YAML
dist:
  name: otelcol
  description: The collector with what otel-collector.yaml names
  version: $collector_version
  output_path: $work/collector
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$collector_version
processors:
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v$collector_version
  - gomod: go.opentelemetry.io/collector/processor/memorylimiterprocessor v$collector_version
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/processor/resourceprocessor v$collector_version
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v$collector_version
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v$collector_version
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v$confmap_version
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v$confmap_version
YAML
  GOBIN="$work/bin" go install "go.opentelemetry.io/collector/cmd/builder@v$collector_version"
  "$work/bin/builder" --config "$work/builder.yaml"
  mv "$work/collector/otelcol" "$bin/otelcol"
}

install_jaeger () {
  # Its go.mod replaces a module, which `go install` refuses, so it is built from a copy of its source. Of the web page
  # there is only a placeholder in the source; the query API is whole.
  local source
  source=$(go mod download -json "github.com/jaegertracing/jaeger@v$jaeger_version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -r "$source" "$work/jaeger"
  chmod -R u+w "$work/jaeger"
  (cd "$work/jaeger" && go build -trimpath -o "$bin/jaeger" ./cmd/jaeger)
}

for program in collector jaeger; do
  version=${program}_version
  stamp="$bin/.$program-${!version}"
  if [ -e "$stamp" ]; then
    echo "$program ${!version} is there"
    continue
  fi
  rm -f "$bin/.$program"-*
  echo "Building $program ${!version}; this takes minutes"
  "install_$program"
  touch "$stamp"
done

cat <<TEXT

Start both, each in a terminal of its own, and Threadline with OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318:

  .run/bin/jaeger --set receivers.otlp.protocols.grpc.endpoint=127.0.0.1:14317 --set receivers.otlp.protocols.http.endpoint=127.0.0.1:14318
  .run/bin/otelcol --config otel-collector.yaml
TEXT

export const usage = `Verifies traces: that every hop of a message carried the identity of its user, thread and run, and that none was crossed.

  threadline verify traces.json                    a file of the collector's file exporter: OTLP as JSON or protobuf, .gz and .zst too
  threadline verify traces/                        all files of a directory, rotated ones too
  cat traces.json | threadline verify -            the standard input
  threadline verify --jaeger http://localhost:16686 --since 15m
  threadline verify --jaeger http://localhost:16686 --trace 4bf92f3577b34da6a3ce929d0e0e4736
  threadline verify --url http://localhost:3000 --run run_…

Jaeger
  --jaeger <url>         its query address
  --api <v1|v3>          which of its APIs; v3 by default
  --trace <id>           a trace; may be given several times
  --service <name>       traces of this service; threadline by default
  --since <time>         that began in the last 15m, 2h, 1d; 1h by default
  --start, --end <time>  that began between two times, as 2026-01-31T12:00:00Z
  --user, --thread <id>  with a span of this user, of this thread
  --limit <count>        traces asked for at once; 200 by default. Where there are more, smaller times are asked for
  --header <name: value> sent with each request; may be given several times

A running service, with the token of the user in THREADLINE_TOKEN
  --url <url>            its address
  --run <id>             a run; may be given several times
  --thread <id>          the runs of a thread

What is right
  --profile <file>       hops and attribute names of your own service, as JSON; docs/verify.md has an example
  --baggage-host <host>  where baggage may go, as host or host:port; may be given several times. BAGGAGE_HOSTS is read as well
  --late <time>          how long a trace has to be silent before something is missing; 10s by default
  --open-run <time>      how long a run may be silent before its end is missing; 10m by default
  --wait <time>          how long to wait for such traces, of Jaeger or a service; 30s by default
  --timeout <time>       how long to wait for an answer; 10s by default

What is told
  --format <format>      text, json, sarif or junit; text by default
  --output, -o <file>    where to; the standard output without it
  --max-findings <count> how many findings are told; 100 by default
  --docs-url <url>       where the documents of the rules are, for links to them
  --verbose, -v          clean and incomplete traces as well, hop by hop
  --help, -h

Exit code: 0 all is clean, 1 there are findings, 2 not everything could be checked, or nothing was found.
`

export const usage = `Checks what a server needs, before or beside one that runs, and says what to do about what is wrong. It changes nothing: what it writes it rolls back.

  threadline doctor                       what the variables of the environment name, as a server would read them
  threadline doctor --database-url <url>  another database; a password in it can be seen in the list of processes
  threadline doctor --redis-url <url>     another Redis
  threadline doctor --json                for a program

It checks the Node version, the configuration, Postgres (reached, version, notifications, schema, roles, row-level security, policies by trying to read as
another user, settings), Redis (reached, version, a message there and back), clocks, the signing key, authentication and where telemetry goes.
Run it with the login that the server uses.

Exit code: 0 nothing is wrong (warnings are told), 1 something is, 2 it could not be tried.
`

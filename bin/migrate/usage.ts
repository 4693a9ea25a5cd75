export const usage = `Brings a Postgres database to the newest state, with the login that owns it, and makes the login that servers use.

  threadline migrate                            the database of DATABASE_URL
  threadline migrate --database-url <url>       another one; a password in it can be seen in the list of processes
  threadline migrate --service-login <name>     also makes this login, or brings it to what it should be; threadline_service when only a
                                                password is given
  threadline migrate --password-stdin           reads its password from the standard input, else THREADLINE_SERVICE_PASSWORD is read

The service login owns nothing and may only take the roles threadline_app and threadline_system. A server that is started with it changes no
schema; it checks it, and says what to run. Migrations may run while servers of the version before are at work, and several at once wait for each other.

Exit code: 0 done, 1 the database refused, and nothing of the failed step has stayed, 2 it could not be tried.
`

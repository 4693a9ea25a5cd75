import { sql, type Kysely } from 'kysely'

/**
 * Makes the two roles that units of work take, and lets the login take them. Roles belong to the whole cluster: those of
 * another database of it are used as they are, and one that another process makes at this moment is as good.
 * Needs `CREATEROLE` the first time. Neither role can log in or get around row-level security.
 */
export async function ensureRoles (db: Kysely<unknown>): Promise<void> {
  await sql`
    do $$
    declare
      name text;
      -- Since 16 a login is a member of each role that it makes, without being allowed to take it.
      taking text := case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end;
    begin
      foreach name in array array['threadline_app', 'threadline_system'] loop
        if not exists (select 1 from pg_roles where rolname = name) then
          begin
            execute format('create role %I nologin noinherit', name);
          exception when duplicate_object or unique_violation then
            null;
          end;
        end if;
        if exists (select 1 from pg_roles where rolname = name and (rolsuper or rolbypassrls)) then
          raise exception 'The role % must not get around row-level security', name;
        end if;
        if not pg_has_role(current_user, name, taking) then
          begin
            execute format('grant %I to current_user', name);
          exception when unique_violation then
            null;
          when insufficient_privilege then
            raise exception 'The login % may not take the role %', current_user, name
              using errcode = 'insufficient_privilege', hint = format('As a superuser: grant %I to %I', name, current_user);
          end;
        end if;
      end loop;
    end $$`.execute(db)
}

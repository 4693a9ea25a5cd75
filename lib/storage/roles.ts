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
    begin
      foreach name in array array['threadline_app', 'threadline_system'] loop
        if not exists (select 1 from pg_roles where rolname = name) then
          begin
            execute format('create role %I nologin noinherit nosuperuser nocreatedb nocreaterole nobypassrls', name);
          exception when duplicate_object or unique_violation then
            null;
          end;
        end if;
        if exists (select 1 from pg_roles where rolname = name and (rolsuper or rolbypassrls)) then
          raise exception 'The role % must not get around row-level security', name;
        end if;
        if not pg_has_role(current_user, name, 'member') then
          begin
            execute format('grant %I to current_user', name);
          exception when unique_violation then
            null;
          end;
        end if;
      end loop;
    end $$`.execute(db)
}

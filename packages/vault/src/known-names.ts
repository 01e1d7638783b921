import type { Queryable } from '@cardea/storage/db';

/** Whether a vault has this name or id now. */
export async function isVault(db: Queryable, nameOrId: string): Promise<boolean> {
  const rows = await db.query(
    `select 1
       from vault
      where name = $1
         or id = $1`,
    [nameOrId],
  );
  return rows.length > 0;
}

/** Whether an account has this name or id now. `user:` and `application:` in front of it say of which kind. */
export async function isAccount(db: Queryable, asked: string): Promise<boolean> {
  const [, kind = null, nameOrId = asked] = /^(user|application):(.*)$/s.exec(asked) ?? [];
  const rows = await db.query(
    `select 1
       from app_user
      where (username = $1 or id = $1)
        and ($2 = 'user' or $2 is null)
     union all
     select 1
       from application
      where (name = $1 or id = $1)
        and ($2 = 'application' or $2 is null)`,
    [nameOrId, kind],
  );
  return rows.length > 0;
}

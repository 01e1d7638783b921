import type { Role } from '@cardea/contracts/caller';
import type { Queryable, Transaction } from '@cardea/storage/db';

export interface UserRow {
  id: string;
  username: string;
  role: Role;
  password_hash: string;
}

export async function findUser(db: Queryable, username: string): Promise<UserRow | undefined> {
  const [row] = await db.query<UserRow>(
    `select id, username, role, password_hash
       from app_user
      where username = $1`,
    [username],
  );
  return row;
}

export async function countUsers(db: Queryable): Promise<number> {
  const [row] = await db.query<{ users: number }>(`select count(*) as users from app_user`);
  return row?.users ?? 0;
}

export async function insertUser(tx: Transaction, user: UserRow & { created_at: number }): Promise<void> {
  await tx.query(
    `insert into app_user (id, username, role, password_hash, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $5)`,
    [user.id, user.username, user.role, user.password_hash, user.created_at],
  );
}

export async function updatePasswordHash(db: Queryable, id: string, passwordHash: string): Promise<void> {
  await db.query(
    `update app_user
        set password_hash = $2
      where id = $1`,
    [id, passwordHash],
  );
}

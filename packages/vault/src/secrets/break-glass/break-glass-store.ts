import type { Queryable, Transaction } from '@cardea/storage/db';

/** How many uses of break-glass are shown for one secret. The audit log has all of them. */
const SHOWN_MAX = 1_000;

/** One read of a version by break-glass. The read may have failed because the audit log did not answer. */
export interface BreakGlassUse {
  version: number;
  /** Milliseconds since 1970. */
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
  reason: string;
}

/** The uses of break-glass on a secret, the newest first. */
export async function listBreakGlass(db: Queryable, secretId: string): Promise<BreakGlassUse[]> {
  const rows = await db.query<{ version: number; at: number; by_user: string; reason: string }>(
    `select version, at, by_user, reason
       from break_glass
      where secret_id = $1
      order by id desc
      limit ${SHOWN_MAX}`,
    [secretId],
  );
  return rows.map(({ by_user: by, ...rest }) => ({ ...rest, by: `user:${by}` }));
}

export async function insertBreakGlass(
  tx: Transaction,
  use: { id: string; secretId: string; version: number; reason: string; at: number; userId: string },
): Promise<void> {
  await tx.query(
    `insert into break_glass (id, secret_id, version, reason, at, by_user)
     values ($1, $2, $3, $4, $5, $6)`,
    [use.id, use.secretId, use.version, use.reason, use.at, use.userId],
  );
}

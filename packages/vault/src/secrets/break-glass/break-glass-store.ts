import type { Queryable, Transaction } from '@cardea/storage/db';

/** How many uses of break-glass are shown of one secret: the audit log has them all. */
const SHOWN_MAX = 1_000;

/** That somebody read a version by break-glass, or was about to when the audit log fell silent. */
export interface BreakGlassUse {
  version: number;
  /** Milliseconds since 1970. */
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
  reason: string;
}

/** How a secret was read by break-glass, the newest first. */
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

import type { Queryable, Transaction } from '@cardea/storage/db';

/** The rotation that a message was answered with; undefined for a message that was not received yet. */
export async function findMessage(db: Queryable, id: string): Promise<{ rotation_id: string } | undefined> {
  const [row] = await db.query<{ rotation_id: string }>(`select rotation_id from webhook_message where id = $1`, [id]);
  return row;
}

export async function insertMessage(
  tx: Transaction,
  { id, rotationId, receivedAt }: { id: string; rotationId: string; receivedAt: number },
): Promise<void> {
  await tx.query(
    `insert into webhook_message (id, rotation_id, received_at)
     values ($1, $2, $3)`,
    [id, rotationId, receivedAt],
  );
}

/** Deletes at most `limit` messages that were received before a time. Returns how many. */
export async function removeMessagesBefore(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from webhook_message
      where id in (select id
                     from webhook_message
                    where received_at < $1
                    order by received_at
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}

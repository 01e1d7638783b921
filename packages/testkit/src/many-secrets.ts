import type { Db, Transaction } from '@cardea/storage/db';

const SECRETS_PER_TRANSACTION = 20_000;

/** The secrets of a vault with numbers from `from` up to, but not including, `to`. */
export interface Numbers {
  vaultId: string;
  from: number;
  to: number;
}

/**
 * Inserts rows of secrets into a vault. They are like rows written through the front door, except that no key opens
 * their values. Secret `i` is `area<i mod 100>/item<i>/password` with the metadata `env=prod` and
 * `owner=o<i mod 1000>`. Every nineteenth is in the trash and every tenth has an expiry, both so far ahead that no
 * sweep takes them.
 */
export async function addManySecrets(db: Db, { vaultId, from, to }: Numbers): Promise<void> {
  for (let next = from; next < to; next += SECRETS_PER_TRANSACTION) {
    const numbers = { vaultId, from: next, to: Math.min(next + SECRETS_PER_TRANSACTION, to) };
    await db.transaction(async (tx) => {
      await addSecrets(tx, numbers);
      await addWords(tx, numbers);
      await addLabels(tx, numbers);
    });
  }
}

export function idOf({ vaultId }: { vaultId: string }, i: number): string {
  return `${vaultId}-${i}`;
}

export function nameOf(i: number): string {
  return `area${i % 100}/item${i}/password`;
}

async function addSecrets(tx: Transaction, { vaultId, from, to }: Numbers): Promise<void> {
  await tx.query(
    `with recursive number (i) as (select cast($2 as bigint) union all select i + 1 from number where i + 1 < $3)
     insert into secret (id, vault_id, name, current_version, metadata, due_at, trashed_at, live, created_at, created_by, updated_at)
     select $1 || '-' || i,
            $1,
            'area' || (i % 100) || '/item' || i || '/password',
            1,
            '{"env":"prod","owner":"o' || (i % 1000) || '"}',
            case when i % 10 = 1 then 4000000000000 + i end,
            case when i % 19 = 0 then 4000000000000 end,
            case when i % 19 = 0 then 0 else 1 end,
            0,
            'user:nobody',
            0
       from number`,
    [vaultId, from, to],
  );
  await tx.query(
    `with recursive number (i) as (select cast($2 as bigint) union all select i + 1 from number where i + 1 < $3)
     insert into secret_version (secret_id, vault_id, version, deleted_at, deleted_by, ciphertext, dek_version, encoding,
                                 created_at, created_by)
     select $1 || '-' || i,
            $1,
            1,
            case when i % 19 = 0 then 4000000000000 end,
            case when i % 19 = 0 then 'user:nobody' end,
            $4,
            1,
            'utf8',
            0,
            'user:nobody'
       from number`,
    [vaultId, from, to, new Uint8Array(128)],
  );
}

async function addWords(tx: Transaction, { vaultId, from, to }: Numbers): Promise<void> {
  await tx.query(
    `with recursive number (i) as (select cast($2 as bigint) union all select i + 1 from number where i + 1 < $3)
     insert into secret_word (vault_id, word, name, secret_id)
     select $1,
            case k when 1 then 'area' || (i % 100) when 2 then 'item' || i else 'password' end,
            'area' || (i % 100) || '/item' || i || '/password',
            $1 || '-' || i
       from number
       join (select 1 as k union all select 2 union all select 3) as words on i % 19 <> 0`,
    [vaultId, from, to],
  );
}

async function addLabels(tx: Transaction, { vaultId, from, to }: Numbers): Promise<void> {
  await tx.query(
    `with recursive number (i) as (select cast($2 as bigint) union all select i + 1 from number where i + 1 < $3)
     insert into secret_label (vault_id, key, value, name, secret_id)
     select $1,
            case k when 1 then 'env' else 'owner' end,
            case k when 1 then 'prod' else 'o' || (i % 1000) end,
            'area' || (i % 100) || '/item' || i || '/password',
            $1 || '-' || i
       from number
       join (select 1 as k union all select 2) as labels on i % 19 <> 0`,
    [vaultId, from, to],
  );
}

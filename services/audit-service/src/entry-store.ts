import { toBase64 } from '@cardea/crypto/encoding';
import { TILE_WIDTH, rootHash } from '@cardea/crypto/merkle';
import type { TreeHashes } from '@cardea/crypto/merkle';
import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import type { EntryRow } from './entry-row.ts';

/** The end of the log: its size and the chain hash of its last entry, or the genesis if the log is empty. */
export interface Head {
  size: number;
  chain: Uint8Array;
}

export async function readHead(db: Queryable): Promise<Head> {
  const [head] = await db.query<Head>('select size, chain from audit_head where id = 1');
  if (!head) throw new Error('audit_head has no row');
  return head;
}

/** Moves the head by compare-and-swap. Returns false if the head is no longer where the caller saw it. */
export async function moveHead(tx: Transaction, from: Head, to: Head): Promise<boolean> {
  const moved = await tx.query(
    `update audit_head
        set size = $1,
            chain = $2
      where id = 1
        and size = $3
        and chain = $4
      returning size`,
    [to.size, to.chain, from.size, from.chain],
  );
  return moved.length === 1;
}

/** An entry that the log already has, for the comparison with an event of the same id. */
export type KnownEntry = Pick<EntryRow, 'seq' | 'event_id' | 'entry' | 'leaf'>;

const FIND_BY_IDS = {
  sqlite: `
    select seq, event_id, entry, leaf
      from audit_entry
     where event_id in (select value from json_each($1))`,
  postgres: `
    select seq, event_id, entry, leaf
      from audit_entry
     where event_id in (select json_array_elements_text($1::json))`,
};

export function findEntriesByIds(tx: Transaction, engine: Db['engine'], ids: string[]): Promise<KnownEntry[]> {
  return tx.query<KnownEntry>(FIND_BY_IDS[engine], [JSON.stringify(ids)]);
}

/** Returns the greatest event id in the log, in byte order, or '' for an empty log. */
export async function readGreatestId(db: Queryable): Promise<string> {
  const [row] = await db.query<{ id: string | null }>('select max(event_id) as id from audit_entry');
  return row?.id ?? '';
}

/** Inserts the entries of one batch. */
export async function insertEntries(tx: Transaction, engine: Db['engine'], rows: EntryRow[]): Promise<void> {
  if (engine === 'postgres') await insertTogether(tx, rows);
  else for (const row of rows) await insertOne(tx, row);
}

// SQLite runs in this process, where a prepared statement in a loop is fastest.
async function insertOne(tx: Transaction, row: EntryRow): Promise<void> {
  await tx.query(
    `insert into audit_entry
       (seq, event_id, entry, leaf, written_at)
     values ($1, $2, $3, $4, $5)`,
    [row.seq, row.event_id, row.entry, row.leaf, row.written_at],
  );
}

// Each statement to PostgreSQL costs a round trip, so one statement inserts all rows.
async function insertTogether(tx: Transaction, rows: EntryRow[]): Promise<void> {
  const records = rows.map((row) => ({
    ...row,
    entry: toBase64(row.entry),
    leaf: toBase64(row.leaf),
  }));
  await tx.query(
    `insert into audit_entry
       (seq, event_id, entry, leaf, written_at)
     select seq, event_id, decode(entry, 'base64'), decode(leaf, 'base64'), written_at
       from json_to_recordset($1::json) as r (seq bigint, event_id text, entry text, leaf text, written_at text)`,
    [JSON.stringify(records)],
  );
}

/** Stores every complete subtree of 256^level leaves that the entries [from, to) complete. */
export async function insertCompletedTiles(tx: Transaction, from: number, to: number): Promise<void> {
  let [first, end] = [Math.floor(from / TILE_WIDTH), Math.floor(to / TILE_WIDTH)];
  for (let level = 1; first < end; level += 1) {
    for (let ordinal = first; ordinal < end; ordinal += 1) {
      const hash = await hashOfTile(tx, level, ordinal);
      await tx.query('insert into audit_tile (level, ordinal, hash) values ($1, $2, $3)', [level, ordinal, hash]);
    }
    [first, end] = [Math.floor(first / TILE_WIDTH), Math.floor(end / TILE_WIDTH)];
  }
}

async function hashOfTile(tx: Transaction, level: number, ordinal: number): Promise<Uint8Array> {
  const [from, to] = [ordinal * TILE_WIDTH, (ordinal + 1) * TILE_WIDTH];
  const below = level === 1 ? await readLeaves(tx, from, to) : await readTiles(tx, level - 1, from, to);
  return rootHash({ leaves: async (a, b) => below.slice(a, b) }, TILE_WIDTH);
}

/** Reads the stored hashes of the tree, for proofs and roots. */
export function storedTree(db: Queryable): TreeHashes {
  return {
    leaves: (from, to) => readLeaves(db, from, to),
    subtree: async (level, ordinal) => (await readTiles(db, level, ordinal, ordinal + 1))[0],
  };
}

async function readLeaves(db: Queryable, from: number, to: number): Promise<Uint8Array[]> {
  const rows = await db.query<{ leaf: Uint8Array }>(
    `select leaf
       from audit_entry
      where seq >= $1
        and seq < $2
      order by seq`,
    [from, to],
  );
  return rows.map((row) => row.leaf);
}

async function readTiles(db: Queryable, level: number, from: number, to: number): Promise<Uint8Array[]> {
  const rows = await db.query<{ hash: Uint8Array }>(
    `select hash
       from audit_tile
      where level = $1
        and ordinal >= $2
        and ordinal < $3
      order by ordinal`,
    [level, from, to],
  );
  return rows.map((row) => row.hash);
}

/** Reads the whole rows [from, to) in order. */
export function readRows(db: Queryable, from: number, to: number): Promise<EntryRow[]> {
  return db.query<EntryRow>(
    `select seq, event_id, entry, leaf, written_at
       from audit_entry
      where seq >= $1
        and seq < $2
      order by seq`,
    [from, to],
  );
}

/** Reads the exact bytes of the entries [from, to) in order. */
export async function readEntryBytes(db: Queryable, from: number, to: number): Promise<Uint8Array[]> {
  const rows = await db.query<{ entry: Uint8Array }>(
    `select entry
       from audit_entry
      where seq >= $1
        and seq < $2
      order by seq`,
    [from, to],
  );
  return rows.map((row) => row.entry);
}

const READ_BY_SEQ = {
  sqlite: `
    select entry
      from audit_entry
     where seq in (select value from json_each($1))
     order by seq`,
  postgres: `
    select entry
      from audit_entry
     where seq = any (translate($1, '[]', '{}')::bigint[])
     order by seq`,
};

/** Reads the exact bytes of the entries with these numbers, in the order of the log. */
export async function readEntriesBySeq(db: Queryable, engine: Db['engine'], seqs: number[]): Promise<Uint8Array[]> {
  const rows = await db.query<{ entry: Uint8Array }>(READ_BY_SEQ[engine], [JSON.stringify(seqs)]);
  return rows.map((row) => row.entry);
}

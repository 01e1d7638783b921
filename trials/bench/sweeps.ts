import { startPostgres, startRedis } from '@cardea/testkit/servers';
import { createTestSystem } from '@cardea/testkit/system';
import type { Profile, TestSystem } from '@cardea/testkit/system';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Db } from '@cardea/storage/db';

const ITEMS = 6_000;
const BASELINE_ITEMS = 500;
const WRITES_ALONE = 100;

/* eslint-disable no-console -- a command prints its table */

/**
 * Measures how many items a second the sweeps handle, with their records in the audit log, on SQLite and PostgreSQL. The
 * baseline is one transaction for each item that writes the same rows and no record into the log. All services run in
 * this process, so the figures are lower than those of an installation. A client writes secrets all the time: its p99
 * says how long others wait for a page.
 */
export async function measureSweeps(): Promise<void> {
  const postgres = await startPostgres({ fsync: 'on' });
  const redis = await startRedis();
  process.env['CARDEA_TEST_POSTGRES_URL'] = postgres.url;
  process.env['CARDEA_TEST_REDIS_URL'] = redis.url;
  try {
    console.log('| engine | what | items/s | of the baseline | p99 of a write meanwhile, ms |\n|---|---|---|---|---|');
    for (const profile of ['mini', 'full'] as const) await measureProfile(profile);
  } finally {
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

async function measureProfile(profile: Profile): Promise<void> {
  await using system = await createTestSystem(profile);
  const { db } = system.vault;
  const alice = await system.as('alice');
  await alice.createVault('bench');
  await alice.putSecret('bench', 'one', 'v'.repeat(64));
  const write = () => alice.putSecret('bench', 'busy', crypto.randomUUID());

  await addExpiredSecrets(db, 'warm', 400);
  await system.runJob('secret.sweep', {});
  const alone = await writeWhile(write, (written) => written >= WRITES_ALONE);
  const baseline = BASELINE_ITEMS / (await secondsOf(() => changeOneByOne(db)));
  print({
    engine: db.engine,
    what: 'baseline: a transaction for each item',
    perSecond: baseline,
    baseline,
    p99: alone,
  });

  await addExpiredSecrets(db, 'swept', ITEMS);
  await measure({ system, what: 'expired secrets', job: 'secret.sweep', baseline, write });
  await addTrash(db, ITEMS);
  await measure({ system, what: 'secrets in the trash', job: 'secret.sweep', baseline, write });
  await addExpiredUsers(db, ITEMS);
  await measure({ system, what: 'expired users', job: 'user.sweep', baseline, write });
}

interface Measuring {
  system: TestSystem;
  what: string;
  job: 'secret.sweep' | 'user.sweep';
  baseline: number;
  write(): Promise<void>;
}

async function measure({ system, what, job, baseline, write }: Measuring): Promise<void> {
  let items = 0;
  let isSwept = false;
  const writing = writeWhile(write, () => isSwept);
  const done = (count: number) => void (items += count);
  const seconds = await secondsOf(() => system.runJob(job, {}, { done }));
  isSwept = true;
  if (items < ITEMS) throw new Error(`${what}: ${items} items were swept, not ${ITEMS}`);
  print({ engine: system.vault.db.engine, what, perSecond: items / seconds, baseline, p99: await writing });
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Writes one secret after the other. Returns the 99th percentile of their times in milliseconds. */
async function writeWhile(write: () => Promise<void>, isOver: (written: number) => boolean): Promise<number> {
  const times: number[] = [];
  while (!isOver(times.length)) times.push((await secondsOf(write)) * 1000);
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;
}

function print(row: { engine: string; what: string; perSecond: number; baseline: number; p99: number }): void {
  const { engine, what, perSecond, baseline, p99 } = row;
  console.log(
    `| ${engine} | ${what} | ${Math.round(perSecond)} | ${(perSecond / baseline).toFixed(2)} | ${p99.toFixed(0)} |`,
  );
}

// What a sweep writes for one item: the row itself, and its record into the outbox.
async function changeOneByOne(db: Db): Promise<void> {
  const event = 'x'.repeat(400);
  for (let i = 0; i < BASELINE_ITEMS; i += 1) {
    const id = uuidv7(Date.now());
    await db.transaction(async (tx) => {
      await tx.query(`update secret set updated_at = $1 where name = 'one'`, [i]);
      await tx.query(`insert into outbox (id, event, created_at) values ($1, $2, $3)`, [id, event, Date.now()]);
    });
  }
  await db.query(`delete from outbox where event = $1`, [event]);
}

async function addExpiredSecrets(db: Db, prefix: string, count: number): Promise<void> {
  await addSecrets(db, { prefix, count, isTrash: false });
}

async function addTrash(db: Db, count: number): Promise<void> {
  await addSecrets(db, { prefix: 'binned', count, isTrash: true });
}

/** Secrets with one value that expired in 1970, or was put into the trash then. */
async function addSecrets(db: Db, secrets: { prefix: string; count: number; isTrash: boolean }): Promise<void> {
  const { prefix, count, isTrash } = secrets;
  await db.transaction(async (tx) => {
    await tx.query(
      `with recursive n (i) as (select cast(1 as bigint) union all select i + 1 from n where i < $2)
       insert into secret (id, vault_id, name, current_version, metadata, live, trashed_at, created_at, created_by, updated_at)
       select $1 || '-' || n.i, s.vault_id, $1 || '/' || n.i, 1, '{}', $3, $4, 1, 'user:nobody', 1
         from n
         join secret s on s.name = 'one'`,
      [prefix, count, isTrash ? 0 : 1, isTrash ? 1_000 : null],
    );
    await tx.query(
      `with recursive n (i) as (select cast(1 as bigint) union all select i + 1 from n where i < $2)
       insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, expires_at, deleted_at,
                                   created_at, created_by)
       select $1 || '-' || n.i, e.vault_id, 1, e.ciphertext, e.dek_version, e.encoding, $3, $4, 1, 'user:nobody'
         from n
         join secret s on s.name = 'one'
         join secret_version e on e.secret_id = s.id`,
      [prefix, count, isTrash ? null : 1_000, isTrash ? 1_000 : null],
    );
  });
  await analyze(db);
}

async function addExpiredUsers(db: Db, count: number): Promise<void> {
  await db.query(
    `with recursive n (i) as (select cast(1 as bigint) union all select i + 1 from n where i < $1)
     insert into app_user (id, username, role, password_hash, password_state, disabled, expires_at, totp_enabled,
                           totp_last_step, created_at, updated_at)
     select 'user-' || n.i, 'user-' || n.i, 'developer', '', 'chosen', 0, 1000, 0, 0, 1, 1
       from n`,
    [count],
  );
  await analyze(db);
}

// PostgreSQL does it by itself, a minute later.
async function analyze(db: Db): Promise<void> {
  if (db.engine === 'postgres') await db.query('analyze');
}

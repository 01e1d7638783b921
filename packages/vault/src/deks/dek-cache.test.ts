import type { AuditLog } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';
import type { Keks } from '@cardea/contracts/keks';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openSqlite } from '@cardea/storage/sqlite';
import type { Db } from '@cardea/storage/db';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { migrationsFolder } from '../migrations.ts';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { createDekCache } from './dek-cache.ts';
import type { DekCache } from '../context.ts';
import { insertDek } from './dek-store.ts';

const ref = { vaultId: '01980000-0000-7000-8000-000000000001', dekVersion: 1 };
const of = (i: number) => ({ vaultId: `vault ${i}`, dekVersion: 1 });
const KEPT_MS = 5 * MINUTE_MS;

let db: Db;
let cache: DekCache;
let now: number;
let unwrapped: number;

const audit: AuditLog = { admit: () => undefined, append: () => Promise.reject(new Error('nothing is appended here')) };

const keks: Keks = {
  wrap: () => Promise.reject(new Error('nothing is wrapped here')),
  rewrap: () => Promise.reject(new Error('nothing is rewrapped here')),
  unwrap: async () => {
    unwrapped += 1;
    return new Uint8Array(32).fill(7);
  },
  rotate: () => Promise.reject(new Error('nothing is rotated here')),
  list: () => Promise.reject(new Error('nothing is listed here')),
  destroy: () => Promise.reject(new Error('nothing is destroyed here')),
};

beforeAll(async () => {
  db = openSqlite(':memory:');
  await migrate(db, await readMigrations(migrationsFolder, db.engine));
  await db.transaction((tx) => insertDek(tx, ref, { bytes: new Uint8Array(77), kekVersion: 1 }, 0));
});
afterAll(() => db.close());

beforeEach(() => {
  [now, unwrapped] = [0, 0];
  cache = createDekCache({ db, keks, audit, steadyMs: () => now });
});

describe('a DEK', () => {
  test('that is loaded twice in a row is unwrapped once, and no copy of it is lost', async () => {
    await cache.load(ref);
    const first = cache.get(ref);
    await cache.load(ref);
    expect([unwrapped, cache.get(ref) === first]).toEqual([1, true]);
    cache.clear();
    expect(() => first.bytes()).toThrow('destroyed');
  });

  test('that is unwrapped while the cache is cleared serves the callers that wait for it, and is overwritten', async () => {
    const used = cache.use(ref, (dek) => dek);
    cache.clear();
    const dek = await used;
    await Promise.resolve();
    expect(() => cache.get(ref)).toThrow(expect.objectContaining({ name: 'DekNotLoaded' }));
    expect(() => dek.bytes()).toThrow('destroyed');
  });

  test('that several callers need at once is unwrapped once for all of them', async () => {
    const used = () => cache.use(ref, (dek) => dek);
    const [one, other] = await Promise.all([used(), used(), cache.load(ref), cache.load(ref)]);
    expect([unwrapped, one === other]).toEqual([1, true]);
  });

  test('whose time is over is overwritten before it is loaded again', async () => {
    await cache.load(ref);
    const first = cache.get(ref);
    now = KEPT_MS;
    await cache.load(ref);
    expect([unwrapped, cache.get(ref) === first]).toEqual([2, false]);
    expect(() => first.bytes()).toThrow('destroyed');
  });

  test('that is destroyed is not requested from kek-service', async () => {
    await db.query(
      `insert into vault (id, name, description, max_versions, created_at, created_by) values ($1, 'v', '', 1, 0, 'x')`,
      [ref.vaultId],
    );
    await db.query(
      `insert into dek (vault_id, version, state, wrapped, kek_version, created_at) values ($1, 2, 'destroyed', null, 1, 0)`,
      [ref.vaultId],
    );
    const asked = cache.load({ ...ref, dekVersion: 2 });
    await expect(asked).rejects.toMatchObject({ code: 'internal', suspicious: 'integrity_failure' });
    expect(unwrapped).toBe(0);
  });

  test('is evicted from the largest share, so a caller of many vaults evicts only its own', async () => {
    const wrapped = { bytes: new Uint8Array(77), kekVersion: 1 };
    await db.transaction(async (tx) => {
      for (let i = 0; i < 1_100; i += 1) await insertDek(tx, of(i), wrapped, 0);
    });
    for (let i = 0; i < 10; i += 1) await cache.load(of(i), 'quiet');
    for (let i = 10; i < 1_100; i += 1) await cache.load(of(i), 'greedy');
    expect(cache.figures().kept).toBe(1_024);
    for (let i = 0; i < 10; i += 1) cache.get(of(i));
    expect(() => cache.get(of(10))).toThrow(expect.objectContaining({ name: 'DekNotLoaded' }));
    cache.get(of(1_099));
  });

  test('that is refused to a caller who has used up its share is asked for again by another who waited for it', async () => {
    const shared: Keks = {
      ...keks,
      async unwrap(_ref, _wrapped, by) {
        if (by === 'greedy') throw new AppError('rate_limited', 'too many');
        return keks.unwrap(ref, { bytes: new Uint8Array(), kekVersion: 1 });
      },
    };
    cache = createDekCache({ db, keks: shared, audit, steadyMs: () => now });
    const used = (by: string) => cache.use(ref, () => 'used', by);
    const [greedy, quiet] = await Promise.allSettled([used('greedy'), used('quiet')]);
    expect(greedy).toMatchObject({ reason: { code: 'rate_limited' } });
    expect(quiet).toMatchObject({ value: 'used' });
  });
});

import { HOUR_MS } from '@cardea/contracts/durations';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { describe, expect, test } from '@jest/globals';
import type { Db } from '@cardea/storage/db';
import { addManySecrets, idOf, nameOf } from '@cardea/testkit/many-secrets';
import { findAllReadable } from '@cardea/vault/secrets/bulk/batch-store';
import { returnVersions, trashVersions } from '@cardea/vault/secrets/lifecycle/trash-store';
import { listTrashToPurge } from '@cardea/vault/secrets/lifecycle/trash-sweep-store';
import { listDue, listFolded, listLive, listTrashed } from '@cardea/vault/secrets/listing/list-store';
import { listUnder } from '@cardea/vault/secrets/listing/list-under';
import { reindexSecret, unindexSecret, wordsOf } from '@cardea/vault/secrets/listing/search-index';
import {
  findVaultsWithLabel,
  findVaultsWithWord,
  listByLabel,
  listByWord,
} from '@cardea/vault/secrets/listing/search-store';
import { FIRST_ROW } from '@cardea/vault/deks/resealable';
import { listDeksUnderOlderKeks } from '@cardea/vault/rotation/wrapped-dek-store';
import { secretVersions } from '@cardea/vault/secrets/reseal-versions';
import { totpSecrets } from '@cardea/vault/users/reseal-totp';
import { countVaultsMade } from '@cardea/vault/quotas';
import { findSecret, lockLiveSecretsIn } from '@cardea/vault/secrets/secret-store';
import { findCallerAndRows } from '@cardea/vault/secrets/read-rows';
import { findReadable, findVersion, removeVersions } from '@cardea/vault/secrets/version-store';
import { SYSTEM_VAULT_ID, findNewestDekVersion } from '@cardea/vault/deks/dek-store';
import { listVaultsFrom } from '@cardea/vault/vaults/vault-store';
import { engines, expectIndexed, plansOf, plansOfTransaction, usePlannedDb } from './plans.ts';

const BIG = '00000000-0000-7000-8000-000000000000';
const SECRETS = 15_000;
const SMALL_VAULTS = 50;
const EMPTY_VAULTS = 5_000;
const USERS = 3_000;
const LIMIT = 100;

const folded = { vaultId: BIG, prefix: '', range: { from: '', to: '~' }, limit: LIMIT };
const deep = { vaultId: BIG, range: { from: 'area5/item9', to: '~' }, limit: LIMIT };
const label = { vaultId: BIG, key: 'env', value: 'prod', range: deep.range, limit: LIMIT };
// The second DEK has sealed nothing yet.
const secondDek = { vaultId: BIG, dekVersion: 2 };
const secondOfSystem = { vaultId: SYSTEM_VAULT_ID, dekVersion: 2 };
const firstPage = { after: FIRST_ROW, limit: LIMIT };
const deepPage = { after: { dek_version: 1, id: idOf({ vaultId: BIG }, 5_000), version: 1 }, limit: LIMIT };
const deepInUsers = { after: { dek_version: 1, id: 'user-1500', version: 0 }, limit: LIMIT };
const vaultIds = [BIG, ...Array.from({ length: SMALL_VAULTS }, (_, i) => smallVault(i))];

const lookUps: Record<string, (db: Db) => Promise<unknown>> = {
  'reading a secret': (db) => findReadable(db, { vaultId: BIG, name: nameOf(77), version: null }),
  'reading an old version': (db) => findReadable(db, { vaultId: BIG, name: nameOf(77), version: 1 }),
  'reading a secret as a user': (db) => readAs(db, { id: 'user-77', type: 'user', session: 'session-77' }),
  'reading a secret as an application': (db) =>
    readAs(db, { id: 'application-77', type: 'application', credential: 'credential-77' }),
  'finding a secret before a write': (db) => findSecret(db, { vaultId: BIG, name: nameOf(77) }),
  'finding a version before a write': (db) => findVersion(db, { secretId: idOf({ vaultId: BIG }, 77), version: 1 }),
  'the newest DEK of a vault': (db) => findNewestDekVersion(db, BIG),
  'counting the vaults that a user has made': (db) => countVaultsMade(db, 'maker'),
  'checking that no version of a vault is under an older DEK': (db) =>
    secretVersions.listOlder(db, { vaultId: BIG, dekVersion: 1 }, firstPage),
  'checking that no TOTP secret is under an older DEK': (db) =>
    totpSecrets.listOlder(db, { vaultId: SYSTEM_VAULT_ID, dekVersion: 1 }, firstPage),
};

async function readAs(db: Db, actor: AuditActor): Promise<void> {
  const claimed = { actor, source: {}, requestId: '' };
  const { found } = await findCallerAndRows({ db, now: () => new Date(0) }, claimed, { vault: '0', name: nameOf(77) });
  expect([found.grantedIn?.vault.id, found.secret?.version]).toEqual([BIG, 1]);
}

const pages: Record<string, (db: Db) => Promise<unknown[]>> = {
  'the first page of a list': (db) => listLive(db, { ...deep, range: { from: '', to: '~' } }),
  'a page deep in a list': (db) => listLive(db, deep),
  'a page of the secrets below a prefix': (db) => listLive(db, { ...deep, range: { from: 'area5/', to: 'area5/~' } }),
  'a page of the trash': (db) => listTrashed(db, { ...deep, after: 0 }),
  'secrets that have been in the trash for long': (db) =>
    listTrashToPurge(db, { now: 5e12, after: undefined, limit: LIMIT }),
  'a folded page': (db) => listFolded(db, folded),
  'a folded page of the secrets below a prefix': (db) =>
    listFolded(db, { ...folded, prefix: 'area5/', range: { from: 'area5/', to: 'area5/~' } }),
  'secrets that expire before a time': (db) =>
    listDue(db, { vaultId: BIG, from: { dueAt: 0, name: '' }, before: 5e12, limit: LIMIT }),
  'a page deep in the secrets that expire before a time': (db) =>
    listDue(db, { vaultId: BIG, from: { dueAt: 4e12 + 5_001, name: 'x' }, before: 5e12, limit: LIMIT }),
  'a search by a word that every secret has': (db) =>
    listByWord(db, { vaultId: BIG, from: { word: 'pass', name: '' }, to: 'pass~', limit: LIMIT }),
  'a page deep in a search by a word': (db) =>
    listByWord(db, { vaultId: BIG, from: { word: 'password', name: 'area5/item9' }, to: 'pass~', limit: LIMIT }),
  'a search by metadata': (db) => listByLabel(db, { ...label, range: { from: '', to: '~' } }),
  'a page deep in a search by metadata': (db) => listByLabel(db, label),
  'versions under an older DEK': (db) => secretVersions.listOlder(db, secondDek, firstPage),
  'a page deep in the versions under an older DEK': (db) => secretVersions.listOlder(db, secondDek, deepPage),
  'TOTP secrets under an older DEK': (db) => totpSecrets.listOlder(db, secondOfSystem, firstPage),
  'a page deep in the TOTP secrets under an older DEK': (db) => totpSecrets.listOlder(db, secondOfSystem, deepInUsers),
  'DEKs under an older KEK': (db) =>
    listDeksUnderOlderKeks(db, 2, {
      after: { kek_version: 1, vault_id: smallVault(1_000), version: 0 },
      limit: LIMIT,
    }),
};

const several: Record<string, (db: Db) => Promise<unknown>> = {
  'the vaults with a word': (db) => findVaultsWithWord(db, { vaultIds, from: 'pass', to: 'pass~' }),
  'the vaults with a metadata value': (db) => findVaultsWithLabel(db, { vaultIds, key: 'env', value: 'prod' }),
  'the vaults from an id on': (db) => listVaultsFrom(db, { id: smallVault(7), limit: LIMIT }),
  'reading several secrets': (db) =>
    findAllReadable(db, { vaultId: BIG, names: Array.from({ length: 50 }, (_, i) => nameOf(77 * i)) }),
};

describe.each(engines)('on %s, %s, with many secrets,', (engine, analysed) => {
  const planned = usePlannedDb({ engine, analysed, fill });

  test.each(Object.entries(lookUps))('%s is one lookup in an index', async (_what, work) => {
    for (const plan of await plansOf(planned, work)) expectIndexed(plan, { rowsMax: 6 });
  });

  test.each(Object.entries(pages))('%s is read from an index in its order', async (what, work) => {
    const [plan, ...more] = await plansOf(planned, work);
    expect(await work(planned.db)).toHaveLength(LIMIT);
    // The steps of a folded page are sorted at the end. There are as many as the page has items.
    for (const one of [plan!, ...more]) expectIndexed(one, { rowsMax: 6 * LIMIT, sorts: what.includes('folded') });
  });

  test.each(Object.entries(several))('%s is one index lookup for each', async (_what, work) => {
    for (const plan of await plansOf(planned, work)) expectIndexed(plan, { rowsMax: 4 * vaultIds.length });
  });

  test('the statements that index a secret for search touch only its own rows', async () => {
    const secretId = idOf({ vaultId: BIG }, 77);
    const metadata = { env: 'prod', owner: 'o77' };
    const { statements, plans } = await plansOfTransaction(planned, async (tx) => {
      await reindexSecret(tx, engine, { vaultId: BIG, name: nameOf(77), secretId, metadata });
      await unindexSecret(tx, secretId);
    });
    expect(statements.filter((sql) => sql.startsWith('delete'))).toHaveLength(4);
    // The number of words and labels does not matter.
    expect(statements.filter((sql) => sql.startsWith('insert'))).toHaveLength(2);
    for (const plan of plans.filter(({ sql }) => sql.startsWith('delete'))) expectIndexed(plan, { rowsMax: 4 });
  });

  test('a write and a deletion read no version in the trash, however many there are', async () => {
    await addTrashed(planned.db, { secretId: idOf({ vaultId: BIG }, 77), from: 2, to: 5_000 });
    if (analysed === 'analysed') await planned.db.query('analyze');
    const secretId = idOf({ vaultId: BIG }, 77);
    const { statements, plans } = await plansOfTransaction(planned, async (tx) => {
      await returnVersions(tx, { secretId, through: 5_000, at: 1, by: 'user:nobody' });
      await removeVersions(tx, { secretId, through: 0 });
      await trashVersions(tx, { secretId, at: 1, by: 'user:nobody' });
    });
    expect(statements).toHaveLength(3);
    for (const { sql, lines } of plans)
      expect([sql, lines.join(), lines.some(usesKept)]).toEqual([sql, lines.join(), true]);
  });

  test('a list below a prefix does not read the names between the prefix and its slash', async () => {
    await addBeside(planned.db, 3_000);
    const { plans } = await plansOfTransaction(planned, (tx) =>
      listUnder((part) => lockLiveSecretsIn(tx, { vaultId: BIG, ...part }), { prefix: 'beside', advice: '' }),
    );
    for (const plan of plans) expectIndexed(plan, { rowsMax: 4 });
  });

  test('the rows of this test are like those that writes leave', async () => {
    const rowsOf = async (table: 'secret_word' | 'secret_label', i: number) => {
      const sql = {
        secret_word: 'select vault_id, word, name from secret_word where secret_id = $1 order by word',
        secret_label: 'select vault_id, key, value, name from secret_label where secret_id = $1 order by key',
      };
      return planned.db.query<{ word?: string }>(sql[table], [idOf({ vaultId: BIG }, i)]);
    };
    const [words, labels] = [await rowsOf('secret_word', 78), await rowsOf('secret_label', 78)];
    expect(words.map(({ word }) => word)).toEqual(wordsOf(nameOf(78)).toSorted());
    const secretId = idOf({ vaultId: BIG }, 78);
    await planned.db.transaction((tx) =>
      reindexSecret(tx, engine, { vaultId: BIG, name: nameOf(78), secretId, metadata: { env: 'prod', owner: 'o78' } }),
    );
    expect([await rowsOf('secret_word', 78), await rowsOf('secret_label', 78)]).toEqual([words, labels]);
  });

  // This test shows that the tests above can fail.
  test('the check finds a plan that reads a table or sorts', async () => {
    for (const sql of [
      'select id from secret where created_at = $1',
      'select id from secret where vault_id = $1 order by updated_at',
    ]) {
      const plans = await planned.explain(sql, [engine === 'sqlite' || !sql.includes('created') ? BIG : 7]);
      expect(() => expectIndexed(plans[0]!, { rowsMax: 1e9 })).toThrow();
    }
  });
});

function smallVault(i: number): string {
  return `00000000-0000-7000-8000-${String(i + 1).padStart(12, '0')}`;
}

async function fill(db: Db): Promise<void> {
  await addVaults(db);
  await addUsers(db);
  await addAccess(db);
  for (const id of vaultIds) {
    await addManySecrets(db, { vaultId: id, from: 0, to: id === BIG ? SECRETS : 100 });
  }
}

async function addVaults(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select 0 union all select i + 1 from number where i < $1)
     insert into vault (id, name, description, max_versions, created_at, created_by)
     select '00000000-0000-7000-8000-' || substr(cast(1000000000000 + i as text), 2), i, '', 10, 0,
            case when i % 2000 = 0 then 'maker' else 'nobody' end
       from number`,
    [SMALL_VAULTS + EMPTY_VAULTS],
  );
  await db.query(
    `insert into dek (vault_id, version, state, wrapped, kek_version, created_at)
     select id, 1, 'active', $1, 1, 0
       from vault`,
    [new Uint8Array(60)],
  );
}

/** Adds users with TOTP. */
async function addUsers(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select 0 union all select i + 1 from number where i < $1)
     insert into app_user (id, username, role, password_hash, password_state, disabled, totp_ciphertext, totp_dek_version,
                           totp_enabled, totp_last_step, created_at, updated_at)
     select 'user-' || i, 'user-' || i, 'developer', '', 'chosen', 0, $2, 1, 1, 0, 0, 0
       from number`,
    [USERS, new Uint8Array(60)],
  );
}

/** Adds a session for each user and as many applications with a credential, and lets all of them read the big vault. */
async function addAccess(db: Db): Promise<void> {
  await db.query(
    `insert into session (id, user_id, created_at, expires_at, ip, user_agent)
     select replace(id, 'user', 'session'), id, 0, $1, '', ''
       from app_user`,
    [HOUR_MS],
  );
  await db.query(
    `insert into application (id, name, description, allowed_cidrs, disabled, created_at, created_by)
     select replace(id, 'user', 'application'), id, '', '[]', 0, 0, 'user:nobody'
       from app_user`,
  );
  await db.query(
    `insert into application_credential (id, application_id, secret_hash, created_at)
     select replace(id, 'user', 'credential'), replace(id, 'user', 'application'), cast(id as $bytes), 0
       from app_user`.replace('$bytes', db.engine === 'sqlite' ? 'blob' : 'bytea'),
  );
  await db.query(
    `insert into vault_grant (vault_id, principal, owner, secrets, keys, allowed_cidrs, created_at, created_by)
     select $1, 'user:' || id, 0, '["read"]', '[]', '[]', 0, 'user:nobody'
       from app_user
      union all
     select $1, 'application:' || id, 0, '["read"]', '[]', '[]', 0, 'user:nobody'
       from application`,
    [BIG],
  );
}

/** Adds `beside`, `beside/below`, and many names in between. */
async function addBeside(db: Db, count: number): Promise<void> {
  await db.query(
    `with recursive number (i) as (select 1 union all select i + 1 from number where i < $2)
     insert into secret (id, vault_id, name, current_version, metadata, live, created_at, created_by, updated_at)
     select 'beside-' || i,
            $1,
            case i when 1 then 'beside' when 2 then 'beside/below' else 'beside-' || i end,
            1, '{}', 1, 0, 'user:nobody', 0
       from number`,
    [BIG, count],
  );
}

/** Adds versions of a secret to its trash. */
async function addTrashed(
  db: Db,
  { secretId, from, to }: { secretId: string; from: number; to: number },
): Promise<void> {
  await db.query(
    `with recursive number (i) as (select cast($2 as bigint) union all select i + 1 from number where i < $3)
     insert into secret_version (secret_id, vault_id, version, deleted_at, deleted_by, ciphertext, dek_version, encoding,
                                 created_at, created_by)
     select $1, $5, i, 1, 'user:nobody', $4, 1, 'utf8', 0, 'user:nobody'
       from number`,
    [secretId, from, to, new Uint8Array(128), BIG],
  );
}

function usesKept(line: string): boolean {
  return line.includes('secret_version_kept');
}

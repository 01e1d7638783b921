import type { DekRef } from '@cardea/contracts/kek-api';
import { IntegrityError, envelopeKeyVersion } from '@cardea/crypto/envelope';
import type { Person } from '@cardea/testkit/person';
import { PASSWORD, createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import type { VaultContext } from '@cardea/vault/context';
import { allResealables } from '@cardea/vault/resealables';
import { DekNotLoaded } from '@cardea/vault/deks/dek-cache';
import { SYSTEM_VAULT_ID, insertDek } from '@cardea/vault/deks/dek-store';
import { wrapNewDek } from '@cardea/vault/deks/new-dek';
import { FIRST_ROW } from '@cardea/vault/deks/resealable';
import type { OlderRow, Resealable } from '@cardea/vault/deks/resealable';
import { moveSecret } from '@cardea/vault/secrets/move-secret';
import { secretVersions } from '@cardea/vault/secrets/reseal-versions';
import { replaceCiphertext } from '@cardea/vault/secrets/sealed-version-store';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { callerOf } from '../access/probes.ts';
import { codeOf, createUser, nextTotpStep, recordsOf, signIn, turnOnTotp } from '../identity/identity.ts';
import { send, signed } from '../webhooks/sender.ts';
import { at, contents, query } from './ground.ts';

// Two on a page, so that there are several pages.
const LIMIT = 2;
/** More than any test here has. */
const ROWS_MAX = 50;

describe.each(['mini', 'full'] as const)('in profile %s', (profile) => {
  let system: TestSystem;
  let admin: Person;

  beforeAll(async () => {
    system = await createTestSystem(profile);
    admin = await system.as('admin');
  });
  afterAll(async () => {
    await system[Symbol.asyncDispose]();
  });

  const idOf = async (vault: string) => (await admin.get(`/vaults/${vault}`).expect(200)).body.id as string;

  /** Adds the next DEK of a vault, as the first step of a rotation. */
  async function addDek(vaultId: string): Promise<DekRef> {
    const [newest] = await query<{ n: number }>(system, 'select max(version) as n from dek where vault_id = $1', [
      vaultId,
    ]);
    const ref = { vaultId, dekVersion: newest!.n + 1 };
    const wrapped = await wrapNewDek(system.vault, ref);
    await system.vault.db.transaction((tx) => insertDek(tx, ref, wrapped, system.now().getTime()));
    return ref;
  }

  /** Destroys all older DEKs and forgets the unwrapped ones. Nobody can open what they sealed. */
  async function destroyOlder({ vaultId, dekVersion }: DekRef): Promise<void> {
    await query(system, `update dek set state = 'destroyed', wrapped = null where vault_id = $1 and version < $2`, [
      vaultId,
      dekVersion,
    ]);
    system.vault.deks.clear();
  }

  /** All rows under older DEKs, page by page. */
  async function listAll(resealable: Resealable, dek: DekRef): Promise<OlderRow[]> {
    const rows: OlderRow[] = [];
    for (;;) {
      const page = await resealable.listOlder(system.vault.db, dek, { after: rows.at(-1) ?? FIRST_ROW, limit: LIMIT });
      rows.push(...page);
      if (page.length < LIMIT) break;
      if (rows.length > ROWS_MAX) throw new Error('the pages do not come to an end');
    }
    expect(await resealable.countOlder(system.vault.db, dek)).toBe(rows.length);
    return rows;
  }

  async function reseal(resealable: Resealable, row: OlderRow, dek: DekRef): Promise<boolean> {
    const { id, version, ciphertext: from } = row;
    for (;;) {
      try {
        const page = [{ id, version, from, to: resealable.reseal(system.vault, row, dek) }];
        return (await system.vault.db.transaction((tx) => resealable.replace(system.vault, tx, page, dek))) === 1;
      } catch (error) {
        if (!(error instanceof DekNotLoaded)) throw error;
        await system.vault.deks.load(error.ref);
      }
    }
  }

  /** Reseals everything under a new DEK and destroys the older ones. Returns the number of rows of each kind. */
  async function resealAll(vaultId: string): Promise<Record<string, number>> {
    const dek = await addDek(vaultId);
    const counts: Record<string, number> = {};
    for (const resealable of allResealables) {
      const rows = await listAll(resealable, dek);
      for (const row of rows) expect(await reseal(resealable, row, dek)).toBe(true);
      expect(await listAll(resealable, dek)).toEqual([]);
      counts[resealable.kind] = rows.length;
    }
    await destroyOlder(dek);
    return counts;
  }

  interface Stored {
    name: string;
    secret_id: string;
    version: number;
    dek_version: number | null;
    ciphertext: Uint8Array | null;
  }

  function rowsOf(vault: string): Promise<Stored[]> {
    return query<Stored>(
      system,
      `select s.name, e.secret_id, e.version, e.dek_version, e.ciphertext
         from secret_version e
         join secret s on s.id = e.secret_id
         join vault v on v.id = s.vault_id
        where v.name = $1
        order by s.name, e.version`,
      [vault],
    );
  }

  const deksOf = async (vault: string) =>
    (await rowsOf(vault)).map(({ name, version, dek_version }) => [name, version, dek_version]);

  describe('values of secrets', () => {
    test('are read as before after resealing, even from the trash, without their old DEK', async () => {
      for (const vault of ['resealed', 'beside']) await admin.createVault(vault);
      await admin.putSecret('beside', 'a', 'of another vault');
      await admin.putSecret('resealed', 'a', 'one');
      await admin.put(at('resealed', 'a'), { value: 'AAEC', encoding: 'base64', contentType: 'image/png' }).expect(200);
      await admin.putSecret('resealed', 'a', 'three');
      await admin.post(`${at('resealed', 'a')}:destroy`, { versions: [3] }).expect(200);
      await admin.putSecret('resealed', 'b', 'in the trash');
      await admin.delete(at('resealed', 'b')).expect(204);
      const read = async (version: number) =>
        (await admin.get(`${at('resealed', 'a')}?version=${version}`).expect(200)).body as object;
      const before = [await read(1), await read(2)];
      const vaultId = await idOf('resealed');

      expect(await resealAll(vaultId)).toEqual({
        'secret-version': 3,
        totp: 0,
        'signing-key': 0,
        'webhook-secret': 0,
        'key-version': 0,
        'key-import': 0,
      });
      expect(await deksOf('resealed')).toEqual([
        ['a', 1, 2],
        ['a', 2, 2],
        ['a', 3, null],
        ['b', 1, 2],
      ]);
      expect(await deksOf('beside')).toEqual([['a', 1, 1]]);
      for (const { ciphertext, dek_version } of await rowsOf('resealed')) {
        if (ciphertext) expect(envelopeKeyVersion(ciphertext)).toBe(dek_version);
      }
      expect([await read(1), await read(2)]).toEqual(before);
      const answer = await admin.get(`${at('resealed', 'a')}?version=1`).expect(200);
      expect(await recordsOf(system, answer)).toMatchObject([{ action: 'secret.read', dekVersion: 2 }]);
      await admin.post(`${at('resealed', 'b')}:restore`).expect(200);
      expect(await admin.readSecret('resealed', 'b')).toBe('in the trash');
    });

    test('that changed after they were listed are skipped', async () => {
      for (const vault of ['raced', 'away']) await admin.createVault(vault);
      for (const name of ['destroyed', 'moved', 'purged', 'twice']) await admin.putSecret('raced', name, name);
      const dek = await addDek(await idOf('raced'));
      const rows = await listAll(secretVersions, dek);
      const names = new Map((await rowsOf('raced')).map((row) => [row.secret_id, row.name]));
      await admin.post(`${at('raced', 'destroyed')}:destroy`, { versions: [1] }).expect(200);
      await admin.post(`${at('raced', 'moved')}:move`, { vault: 'away', name: 'moved' }).expect(200);
      await admin.post(`${at('raced', 'purged')}:purge`).expect(204);

      const done: Record<string, boolean[]> = {};
      for (const row of [...rows, ...rows]) {
        (done[names.get(row.id)!] ??= []).push(await reseal(secretVersions, row, dek));
      }
      const left = [false, false];
      expect(done).toEqual({ destroyed: left, moved: left, purged: left, twice: [true, false] });
      await destroyOlder(dek);
      await admin.get(at('raced', 'destroyed')).expect(410);
      expect(await admin.readSecret('raced', 'twice')).toBe('twice');
      // Its DEK there has the same version as the one under which it was listed here.
      expect(await deksOf('away')).toEqual([['moved', 1, 1]]);
      expect(await admin.readSecret('away', 'moved')).toBe('moved');
    });

    test('that do not open stay unchanged and delay nothing', async () => {
      await admin.createVault('broken');
      for (const name of ['a', 'b', 'c', 'd', 'e']) await admin.putSecret('broken', name, name);
      const stored = await rowsOf('broken');
      const [damaged, source] = [stored[1]!, stored[3]!];
      await query(
        system,
        `update secret_version
            set ciphertext = (select o.ciphertext from secret_version o where o.secret_id = $2)
          where secret_id = $1`,
        [damaged.secret_id, source.secret_id],
      );
      const before = (await rowsOf('broken'))[1]!;
      const dek = await addDek(await idOf('broken'));
      for (const row of await listAll(secretVersions, dek)) {
        const resealing = reseal(secretVersions, row, dek);
        if (row.id === damaged.secret_id) await expect(resealing).rejects.toThrow(IntegrityError);
        else expect(await resealing).toBe(true);
      }
      const left = await listAll(secretVersions, dek);
      expect(left).toMatchObject([{ dek_version: 1, id: damaged.secret_id, version: 1 }]);
      expect((await rowsOf('broken'))[1]).toEqual(before);
      expect(await admin.readSecret('broken', 'e')).toBe('e');
    });

    test('are not bound to another name that somebody with the disk gave to their vault', async () => {
      await admin.createVault('named');
      await admin.putSecret('named', 's', 'mine');
      const dek = await addDek(await idOf('named'));
      await query(system, `update vault set name = 'renamed' where name = 'named'`);
      const [row] = await listAll(secretVersions, dek);
      await expect(reseal(secretVersions, row!, dek)).rejects.toThrow(IntegrityError);
      await query(system, `update vault set name = 'named' where name = 'renamed'`);
      expect(await admin.readSecret('named', 's')).toBe('mine');
    });

    test('are replaced only if the ciphertext is the expected one', async () => {
      await admin.createVault('swap');
      for (const name of ['a', 'b']) await admin.putSecret('swap', name, name);
      const [a, b] = await rowsOf('swap');
      const row = { secretId: a!.secret_id, version: 1, to: b!.ciphertext!, dekVersion: 2 };
      const replace = (from: Uint8Array) =>
        system.vault.db.transaction((tx) => replaceCiphertext(tx, { ...row, from }));
      expect(await replace(b!.ciphertext!)).toBe(false);
      expect((await rowsOf('swap'))[0]).toEqual(a);
      expect(await replace(a!.ciphertext!)).toBe(true);
      expect((await rowsOf('swap'))[0]).toEqual({ ...a, ciphertext: b!.ciphertext, dek_version: 2 });
    });

    test('that somebody else has written meanwhile are not overwritten by a move, which must be repeated', async () => {
      await admin.createVault('outrun');
      for (const name of ['a', 'b']) await admin.putSecret('outrun', name, name);
      const before = await contents(system);
      const move = { from: { vault: 'outrun', name: 'a' }, to: { vault: 'outrun', name: 'c' }, conditions: {} };
      const moving = moveSecret(outrunAtEachReplacement(system.vault), await callerOf(admin), move);
      await expect(moving).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('repeat') });
      expect(await contents(system)).toEqual(before);
      expect(await admin.readSecret('outrun', 'a')).toBe('a');
    });
  });

  describe('the data of the system', () => {
    test('TOTP secrets work as before after resealing, without their old DEK', async () => {
      for (const username of ['confirmed', 'unconfirmed']) await createUser(system, { username, password: PASSWORD });
      const person = async (username: string) => (await signIn(system, { username })).person;
      const { uri } = await turnOnTotp(system, await person('confirmed'));
      const unconfirmed = await person('unconfirmed');
      const setUp = (await unconfirmed.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
        uri: string;
      };

      expect(await resealAll(SYSTEM_VAULT_ID)).toMatchObject({ 'secret-version': 0, totp: 2 });
      nextTotpStep(system);
      await system.stranger.post('/auth/login', { username: 'confirmed', password: PASSWORD }).expect(401);
      const signedIn = await signIn(system, { username: 'confirmed', otp: codeOf(system, uri) });
      const { body } = await signedIn.person.get('/auth/me').expect(200);
      expect(body.name).toBe('confirmed');
      await unconfirmed.post('/auth/totp:confirm', { otp: codeOf(system, setUp.uri) }).expect(200);
    });

    test('signing keys still verify earlier tokens after resealing, without their old DEK', async () => {
      await createUser(system, { username: 'renewing', password: PASSWORD });
      const { person, refreshToken } = await signIn(system, { username: 'renewing' });

      expect(await resealAll(SYSTEM_VAULT_ID)).toMatchObject({ 'signing-key': 2 });
      // Memory has none of them any more.
      await system.stopService('api');
      await system.startService('api');
      const again = system.stranger.withToken(person.token);
      await again.get('/auth/me').expect(200);
      const renewed = await system.stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(200);
      await system.stranger
        .withToken(renewed.body.access_token as string)
        .get('/auth/me')
        .expect(200);
    });

    test('secrets of the webhook still sign after resealing, without their old DEK', async () => {
      const { body } = await (await system.as('admin')).post('/webhooks/kek-rotation/secrets').expect(201);
      expect(await resealAll(SYSTEM_VAULT_ID)).toMatchObject({ 'webhook-secret': 1 });
      const answer = await send(system, signed(system, { secret: body.secret as string }));
      expect(answer.status).toBe(202);
    });
  });

  test('the list has everything that is sealed in the database', async () => {
    const columns = await query<{ name: string }>(
      system,
      system.vault.db.engine === 'sqlite'
        ? `select t.name || '.' || c.name as name
             from sqlite_master t
             join pragma_table_info(t.name) c
            where t.type = 'table' and c.name like '%ciphertext'`
        : `select table_name || '.' || column_name as name
             from information_schema.columns
            where table_schema = current_schema() and column_name like '%ciphertext'`,
    );
    const kinds: Record<string, string> = {
      'secret-version': 'secret_version.ciphertext',
      totp: 'app_user.totp_ciphertext',
      'signing-key': 'signing_key.ciphertext',
      'webhook-secret': 'webhook_secret.ciphertext',
      'key-version': 'key_version.ciphertext',
      'key-import': 'key_import.ciphertext',
    };
    expect(new Set(allResealables.map(({ kind }) => kinds[kind]))).toEqual(new Set(columns.map(({ name }) => name)));
  });

  test('new values are sealed under the newest active DEK', async () => {
    await admin.createVault('states');
    const vaultId = await idOf('states');
    const written: unknown[] = [];
    const write = async () => {
      const answer = await admin.put(at('states', 's'), { value: String(written.length) });
      written.push((await recordsOf(system, answer))[0]!.dekVersion);
    };
    const setState = (version: number, state: string) =>
      query(system, 'update dek set state = $3 where vault_id = $1 and version = $2', [vaultId, version, state]);
    await write();
    await addDek(vaultId);
    await write();
    await setState(1, 'retiring');
    await write();
    await setState(1, 'active');
    await setState(2, 'retiring');
    await write();
    expect(written).toEqual([1, 2, 2, 1]);
    expect(await deksOf('states')).toEqual(written.map((dekVersion, index) => ['s', index + 1, dekVersion]));
    // Values under a retiring DEK are still read.
    expect((await admin.get(`${at('states', 's')}?version=3`).expect(200)).body.value).toBe('2');

    // The DEK of the system behaves the same.
    const { dekVersion } = await addDek(SYSTEM_VAULT_ID);
    await createUser(system, { username: 'newest', password: PASSWORD });
    await (
      await signIn(system, { username: 'newest' })
    ).person
      .post('/auth/totp', { currentPassword: PASSWORD })
      .expect(200);
    const [user] = await query<{ totp_dek_version: number; totp_ciphertext: Uint8Array }>(
      system,
      `select totp_dek_version, totp_ciphertext from app_user where username = 'newest'`,
    );
    expect([user!.totp_dek_version, envelopeKeyVersion(user!.totp_ciphertext)]).toEqual([dekVersion, dekVersion]);
  });

  test('the database refuses a value without a DEK, and a destroyed DEK that still exists', async () => {
    await admin.createVault('checked');
    await admin.putSecret('checked', 's', 'v');
    const [row] = await rowsOf('checked');
    for (const change of [
      `update secret_version set dek_version = null where secret_id = '${row!.secret_id}'`,
      `update secret_version set ciphertext = null where secret_id = '${row!.secret_id}'`,
      `update secret_version set vault_id = '${SYSTEM_VAULT_ID}' where secret_id = '${row!.secret_id}'`,
      `update dek set state = 'destroyed' where vault_id = '${await idOf('checked')}'`,
      `update dek set wrapped = null where vault_id = '${await idOf('checked')}'`,
      `update dek set state = 'lost' where vault_id = '${await idOf('checked')}'`,
    ]) {
      await expect(query(system, change)).rejects.toThrow(/constraint/i);
    }
    expect(await admin.readSecret('checked', 's')).toBe('v');
  });
});

/** Makes another caller write a version just before its ciphertext is replaced. */
function outrunAtEachReplacement(ctx: VaultContext): VaultContext {
  const lockingTransaction: VaultContext['db']['lockingTransaction'] = (locks, work) =>
    ctx.db.lockingTransaction(locks, (tx) =>
      work({
        inTransaction: true,
        lock: (name) => tx.lock(name),
        async query(sql, params = []) {
          if (/update secret_version\s+set ciphertext/.test(sql)) {
            await tx.query(`update secret_version set ciphertext = $3 where secret_id = $1 and version = $2`, [
              params[0]!,
              params[1]!,
              new Uint8Array(64),
            ]);
          }
          return tx.query(sql, params);
        },
      }),
    );
  return { ...ctx, db: { ...ctx.db, lockingTransaction } };
}

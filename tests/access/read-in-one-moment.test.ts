import type { Person } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { grant, newApplication, newUser } from './granting.ts';

const SECRET = '/vaults/moment/secrets/apps/db';
const NONE = '/vaults/moment/secrets/apps/none';
const KEY = '/vaults/moment/keys/cards';
const NO_KEY = '/vaults/moment/keys/cardz';

inEachProfile((system, { admin, alice }) => {
  let count = 0;
  let user: { who: Person; principal: string; name: string };
  let application: typeof user;
  let restore: (() => void) | undefined;
  beforeAll(async () => {
    await alice.createVault('moment');
    await alice.putSecret('moment', 'apps/db', 'first');
    await alice.post('/vaults/moment/keys', { name: 'cards', algorithm: 'aes-256-gcm' }).expect(201);
  });
  beforeEach(async () => {
    count += 1;
    const [name, appName] = [`user-${count}`, `app-${count}`];
    user = { name, principal: `user:${name}`, who: await newUser(system, name) };
    const who = await newApplication(system, appName);
    application = { name: appName, principal: `application:${appName}`, who };
  });
  afterEach(() => restore?.());

  test.each([
    ['a right to read', { secrets: ['read'] }],
    ['a prefix above the name', { secrets: ['list', 'read', 'write'], pathPrefix: 'apps' }],
    ['the name as prefix', { secrets: ['read'], pathPrefix: 'apps/db' }],
  ])('a read asks for the account, the grant and the secret at once: with %s', async (_what, granted) => {
    for (const { who, name, principal } of [user, application]) {
      await grant(alice, 'moment', principal, granted).expect(201);
      const { status, body, asked } = await read(who, SECRET);
      expect([status, body.value, asked.length]).toEqual([200, 'first', 1]);
      const [record] = await admin.auditEntries({ decision: 'allow', action: 'secret.read' });
      expect(record!.event.actor.name).toBe(name);
    }
  });

  test('and so does the read of an owner, or of an admin, who needs no grant', async () => {
    for (const who of [alice, admin]) {
      const { status, body, asked } = await read(who, SECRET);
      expect([status, body.value, asked.length]).toEqual([200, 'first', 1]);
    }
  });

  test('a right that holds in some networks needs a second look, and gives the value', async () => {
    for (const { who, principal } of [user, application]) {
      await grant(alice, 'moment', principal, { secrets: ['read'], allowedCidrs: ['127.0.0.0/8'] }).expect(201);
      const { status, body, asked } = await read(who, SECRET);
      expect([status, body.value, asked.length]).toEqual([200, 'first', 2]);
    }
  });

  describe('a secret is not looked up for a caller who may not read it:', () => {
    test.each<[string, number, () => object]>([
      ['without a grant', 404, () => ({ secrets: [] })],
      ['with a grant of keys', 403, () => ({ keys: ['list'] })],
      ['with a right to write', 403, () => ({ secrets: ['list', 'write'] })],
      ['with a prefix that is a part of a word', 404, () => ({ secrets: ['read'], pathPrefix: 'apps/d' })],
      ['with a prefix that reads like a pattern', 404, () => ({ secrets: ['read'], pathPrefix: 'app_' })],
      ['from another network', 404, () => ({ secrets: ['read'], allowedCidrs: ['203.0.113.0/24'] })],
      [
        'with a right that has expired',
        404,
        () => ({ secrets: ['read'], expiresAt: new Date(system.now().getTime() + MINUTE_MS).toISOString() }),
      ],
    ])('%s', async (what, status, granted) => {
      for (const { principal } of [user, application]) {
        await grant(alice, 'moment', principal, granted()).expect(201);
        if (what === 'without a grant') await alice.delete(`/vaults/moment/grants/${principal}`).expect(204);
      }
      if (what === 'with a right that has expired') system.passTime(MINUTE_MS);
      for (const { who, name } of [user, application]) {
        const [there, none] = [await read(who, SECRET), await read(who, NONE)];
        expect([there.status, none.status, none.body.detail]).toEqual([status, status, there.body.detail]);
        expect([there.asked.length, none.asked.length]).toEqual([1, 1]);
        // Otherwise the time of the statement would say whether the secret is there.
        expect(there.asked[0]).toMatchObject({ current_version: null, secret_id: null, ciphertext: null });
        const [record] = await admin.auditEntries({ decision: 'deny', action: 'secret.read' });
        expect(record!.event.actor.name).toBe(name);
      }
    });
  });

  test('nor for the holder of a token whose session has ended', async () => {
    await grant(alice, 'moment', user.principal, { secrets: ['read'] }).expect(201);
    await admin.post(`/users/${user.name}:revokeSessions`).expect(204);
    const { status, asked } = await read(user.who, SECRET);
    expect([status, asked.length]).toEqual([401, 1]);
    expect(asked[0]).toMatchObject({ current_version: null, secret_id: null });
  });

  test('a value that is written after the loss of a right is not read by a call that began before it', async () => {
    for (const { who, principal } of [user, application]) {
      await grant(alice, 'moment', principal, { secrets: ['read'] }).expect(201);
      await who.get(SECRET).expect(200);
      const { reached, goOn } = holdAfterGrant();
      const reading = who.get(SECRET).then((answer) => answer);
      await reached;
      await alice.delete(`/vaults/moment/grants/${principal}`).expect(204);
      await alice.putSecret('moment', 'apps/db', 'for others');
      goOn();
      const { status, body } = await reading;
      expect([status, body.value]).toEqual([200, 'first']);
      const [record] = await admin.auditEntries({ action: 'secret.read' });
      expect(record!.event).toMatchObject({ decision: 'allow', resource: { version: body.version } });
      await who.get(SECRET).expect(404);
      await alice.putSecret('moment', 'apps/db', 'first');
    }
  });

  test('an encryption asks for the account, the grant and the key at once, and a decryption for the version too', async () => {
    for (const { who, principal } of [user, application]) {
      await grant(alice, 'moment', principal, { keys: ['encrypt', 'decrypt'], keyPrefix: 'car' }).expect(201);
      const sealed = await use(who, KEY, 'encrypt', { plaintextBase64: 'AAAA' });
      expect([sealed.status, sealed.statements]).toEqual([200, 1]);
      const opened = await use(who, KEY, 'decrypt', { ciphertext: sealed.body.ciphertext });
      expect([opened.status, opened.body.plaintextBase64, opened.statements]).toEqual([200, 'AAAA', 2]);
    }
  });

  test.each<[string, number, object]>([
    ['with a right to secrets only', 403, { secrets: ['list', 'read', 'write'] }],
    ['with another right to keys', 403, { keys: ['decrypt'] }],
    ['with another prefix', 404, { keys: ['encrypt'], keyPrefix: 'card_' }],
    ['from another network', 404, { keys: ['encrypt'], allowedCidrs: ['203.0.113.0/24'] }],
  ])('a key is not looked up for a caller who may not use it: %s', async (_what, status, granted) => {
    for (const { who, principal } of [user, application]) {
      await grant(alice, 'moment', principal, granted).expect(201);
      for (const key of [KEY, NO_KEY]) {
        const { asked, ...answer } = await use(who, key, 'encrypt', { plaintextBase64: 'AAAA' });
        expect([answer.status, answer.statements]).toEqual([status, 1]);
        expect(asked[0]).toMatchObject({ key_id: null, version: null, ciphertext: null });
      }
    }
  });

  /** Reads a secret, and returns the answer with the first row of each statement that the read has waited for. */
  async function read(who: Person, path: string) {
    return askedBy(() => who.get(path));
  }

  /** Uses a key, and returns the same. If its body arrives after the statement, the statement is repeated. */
  async function use(who: Person, path: string, verb: string, body: object) {
    return askedBy(() => who.post(`${path}:${verb}`, body));
  }

  async function askedBy(call: () => ReturnType<Person['get']>) {
    const asked: unknown[] = [];
    const statements = new Set<string>();
    // The token is verified once, and the DEK is unwrapped.
    await call();
    watch(async (sql, rows) => {
      const about = /\b(session|application_credential|vault_grant|secret|secret_version|vault_key|key_version)\b/;
      if (!about.test(sql)) return;
      statements.add(sql);
      asked.push((await rows)[0]);
    });
    const { status, body } = await call();
    restore!();
    return { status, body, asked, statements: statements.size };
  }

  /** Holds back the next answer of the database that has a grant, until `goOn`. */
  function holdAfterGrant() {
    const [stopped, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    watch(async (sql, rows) => {
      if (!sql.includes('vault_grant')) return;
      restore!();
      await rows;
      stopped.resolve();
      await released.promise;
    });
    return { reached: stopped.promise, goOn: () => released.resolve() };
  }

  /** Calls `seen` with each statement outside of transactions. Its answer waits for `seen`. */
  function watch(seen: (sql: string, rows: Promise<unknown[]>) => Promise<void>): void {
    const { db } = system.vault;
    const { query } = db;
    restore = () => void Object.assign(db, { query });
    db.query = async <Row>(sql: string, params?: Parameters<typeof query>[1]) => {
      const rows = query<Row>(sql, params);
      await seen(sql, rows);
      return rows;
    };
  }
});

import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Db } from '@cardea/storage/db';
import { afterEach, describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from './granting.ts';
import { expectEventually } from './probes.ts';

const WAIT_MS = 300;

interface Answer {
  status: number;
  text: string;
}

const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });

inEachProfile((system, { admin, alice }) => {
  let restore: (() => void) | undefined;
  afterEach(async () => {
    restore?.();
    await admin.delete('/users/mallory');
  });

  let vaults = 0;
  describe('a caller who loses a right while a write is under way', () => {
    test.each([
      ['by the loss of the grant', 404, () => alice.delete('/vaults/lost-0/grants/user:mallory').expect(204)],
      ['by a smaller grant', 403, () => grant(alice, 'lost-1', 'user:mallory', { secrets: ['list'] }).expect(200)],
      ['by the end of the session', 401, () => admin.post('/users/mallory:revokeSessions').expect(204)],
      ['by being disabled', 401, () => admin.patch('/users/mallory', { disabled: true }).expect(200)],
      ['by being deleted', 401, () => admin.delete('/users/mallory').expect(204)],
      ['by the deletion of the vault', 404, () => alice.delete('/vaults/lost-5?recursive=true').expect(204)],
    ] as const)('cannot finish it: %s', async (_how, status, withdraw) => {
      const vault = `lost-${vaults}`;
      vaults += 1;
      await alice.createVault(vault);
      await alice.putSecret(vault, 'before', 'v');
      const mallory = await newUser(system, 'mallory');
      await grant(alice, vault, 'user:mallory', { secrets: ['list', 'read', 'write'] }).expect(201);
      // The right was given, and the transaction has not begun.
      const { reached, goOn } = holdBeforeTransaction();
      const writing = mallory.put(`/vaults/${vault}/secrets/s`, { value: 'too late' }).then((answer) => answer.status);
      await reached;
      await withdraw();
      goOn();
      expect(await writing).toBe(status);
      const [record] = await admin.auditEntries({ decision: 'deny' });
      expect(record!.event).toMatchObject({ action: 'secret.write', actor: { name: 'mallory' } });
      expect(await admin.auditEntries({ action: 'secret.write', vault })).not.toContainEqual(
        expect.objectContaining({ event: expect.objectContaining({ decision: 'allow', actor: { name: 'mallory' } }) }),
      );
      if (status !== 404) await alice.get(`/vaults/${vault}/secrets/s`).expect(404);
    });
  });

  describe('a caller who loses a right while the key service is asked is shown nothing', () => {
    const item = { plaintextBase64: 'aGVsbG8=' };
    test.each<[string, (mallory: Person, vault: string, ciphertext: string) => PromiseLike<{ status: number }>]>([
      ['a read', (by, vault) => by.get(`/vaults/${vault}/secrets/s`)],
      ['a read by reference', (by, vault) => by.get(`/vaults/${vault}/secrets/link`)],
      [
        'a read that knows the version',
        (by, vault) => by.get(`/vaults/${vault}/secrets/link`).set('If-None-Match', '"1-1"'),
      ],
      [
        'a batch',
        (by, vault) => by.request('post', `/vaults/${vault}/secrets:batchRead`).send({ names: ['s', 'link'] }),
      ],
      ['an export', (by, vault) => by.request('post', `/vaults/${vault}/secrets:export`).send({ format: 'json' })],
      ['an encryption', (by, vault) => by.request('post', `/vaults/${vault}/keys/k:encrypt`).send(item)],
      [
        'a decryption',
        (by, vault, ciphertext) => by.request('post', `/vaults/${vault}/keys/k:decrypt`).send({ ciphertext }),
      ],
      ['a public half', (by, vault) => by.get(`/vaults/${vault}/keys/pair`)],
      ['public halves', (by, vault) => by.get(`/vaults/${vault}/keys/pair:versions`)],
    ])('%s', async (what, ask) => {
      const vault = `asked-${what.replaceAll(' ', '-')}`;
      await alice.createVault(vault);
      await alice.putSecret(vault, 's', 'v');
      const link = { value: `${vault}/s`, contentType: 'application/vnd.cardea.reference' };
      await alice.put(`/vaults/${vault}/secrets/link`, link).expect(201);
      await alice.post(`/vaults/${vault}/keys`, { name: 'k', algorithm: 'aes-256-gcm' }).expect(201);
      await alice.post(`/vaults/${vault}/keys`, { name: 'pair', algorithm: 'ed25519' }).expect(201);
      const { body } = await alice.request('post', `/vaults/${vault}/keys/k:encrypt`).send(item).expect(200);
      const mallory = await newUser(system, 'mallory');
      const rights = { secrets: ['list', 'read'], keys: ['list', 'encrypt', 'decrypt'] };
      await grant(alice, vault, 'user:mallory', rights).expect(201);
      const { reached, goOn } = holdUnwraps();
      const asking = Promise.resolve(ask(mallory, vault, body.ciphertext));
      await reached;
      await alice.delete(`/vaults/${vault}/grants/user:mallory`).expect(204);
      goOn();
      expect((await asking).status).toBe(404);
      const records = await admin.auditEntries({ vault, limit: '20' });
      const ofMallory = records.filter(({ event }) => event.actor.name === 'mallory');
      expect(ofMallory.map(({ event }) => event.decision)).toEqual(['deny']);
      expect(ofMallory[0]!.seq).toBeGreaterThan(records.find(({ event }) => event.action === 'grant.delete')!.seq);
    });
  });

  type Withdraw = (vault: string) => PromiseLike<unknown>;
  const byGrant: Withdraw = (vault) => alice.delete(`/vaults/${vault}/grants/user:mallory`).expect(204);
  const byPrefix: Withdraw = (vault) =>
    grant(alice, vault, 'user:mallory', { secrets: ['list', 'read'], pathPrefix: 'below' }).expect(200);
  const byRole: Withdraw = () => admin.patch('/users/mallory', { role: 'developer' }).expect(200);
  const bySession: Withdraw = () => admin.post('/users/mallory:revokeSessions').expect(204);

  describe('a caller who loses a right while an answer waits is shown nothing', () => {
    test.each<[string, (by: Person, vault: string) => PromiseLike<{ status: number }>, () => Held, Withdraw, number]>([
      ['a list, for room in the log', (by, vault) => by.get(`/vaults/${vault}/secrets`), holdRoom, byGrant, 404],
      [
        'a list of more, for room in the log',
        (by, vault) => by.get(`/vaults/${vault}/secrets`),
        holdRoom,
        byPrefix,
        403,
      ],
      ['a list, for its statement', (by, vault) => by.get(`/vaults/${vault}/secrets`), holdList, byGrant, 404],
      ['a search of all vaults', (by) => by.get('/secrets?q=before'), holdSearch, byGrant, 403],
      ['a list of vaults', (by) => by.get('/vaults'), holdRoom, byGrant, 403],
      ['a list of seals', (by) => by.get('/seals'), holdSeals, byRole, 403],
      ['a list of users', (by) => by.get('/users'), holdRoom, bySession, 401],
      ['a question about the log', (by) => by.get('/audit/entries'), holdRoom, byRole, 403],
      ['a question about a vault', (by, vault) => by.get(`/audit/entries?vault=${vault}`), holdRoom, byGrant, 404],
      ['an export of the log', (by) => by.get('/audit/export'), holdRoom, byRole, 403],
      ['an export of the log, signed out', (by) => by.get('/audit/export'), holdRoom, bySession, 401],
      ['sessions of their own', (by) => by.get('/auth/sessions'), holdRoom, bySession, 401],
    ])('%s', async (what, ask, holdNext, withdraw, status) => {
      const vault = `waits-${what.replaceAll(/[ ,]+/g, '-')}`;
      await alice.createVault(vault);
      await alice.putSecret(vault, 'before', 'v');
      const mallory = await newUser(system, 'mallory', [byGrant, byPrefix].includes(withdraw) ? 'developer' : 'admin');
      const rights = what.includes('about a vault') ? { owner: true } : { secrets: ['list', 'read'] };
      await grant(alice, vault, 'user:mallory', rights).expect(201);
      const { reached, goOn } = holdNext();
      const asking = Promise.resolve(ask(mallory, vault));
      await reached;
      await withdraw(vault);
      system.passTime(SECOND_MS);
      goOn();
      expect((await asking).status).toBe(status);
      const { items } = (await admin.get('/audit/entries?actor=mallory&limit=2').expect(200)).body;
      const last = items.map(({ event }: { event: AuditEvent }) => [event.action, event.decision]);
      expect(last).toEqual([
        [expect.not.stringMatching('auth.login'), 'deny'],
        ['auth.login', 'allow'],
      ]);
    });
  });

  describe('a caller who loses a right while the key service or RSA takes a moment is shown nothing', () => {
    const shares = { type: 'shamir', shares: 3, threshold: 2 };
    test.each<[string, (by: Person, vault: string) => PromiseLike<Answer>, () => Held, Withdraw, number]>([
      ['the seals', (by) => by.get('/seals'), holdSeals, byRole, 403],
      ['the shares of a new seal', (by) => by.post('/seals', shares), holdNewSeal, byRole, 403],
      ['the KEKs', (by) => by.get('/keks'), holdKeks, byRole, 403],
      [
        'a wrapped key',
        (by, vault) => by.post(`/vaults/${vault}/keys/k:export`, { publicKeyPem }),
        holdRoom,
        byGrant,
        404,
      ],
    ])('%s', async (what, ask, holdNext, withdraw, status) => {
      const vault = `moment-${what.replaceAll(' ', '-')}`.toLowerCase();
      await alice.createVault(vault);
      await alice.post(`/vaults/${vault}/keys`, { name: 'k', algorithm: 'ed25519', exportable: true }).expect(201);
      const mallory = await newUser(system, 'mallory', withdraw === byRole ? 'admin' : 'developer');
      await grant(alice, vault, 'user:mallory', { owner: true }).expect(201);
      const { reached, goOn } = holdNext();
      const asking = Promise.resolve(ask(mallory, vault));
      await reached;
      await withdraw(vault);
      // Unlike above, no second passes: what was noted about the wait counts, and not its length.
      goOn();
      const { status: answered, text } = await asking;
      expect([answered, text.includes('shareTexts')]).toEqual([status, false]);
      const [refused] = await admin.auditEntries({ actor: 'mallory', decision: 'deny' });
      expect(refused!.event.action).not.toBe('auth.login');
    });
  });

  test.each<[string, (by: Person, vault: string) => PromiseLike<Answer>, 'run' | 'runBatch']>([
    [
      'a batch',
      (by, vault) => by.post(`/vaults/${vault}/secrets:batchRead`, { names: [...Array(11).keys()].map(String) }),
      'runBatch',
    ],
    [
      'a move that is tried',
      (by, vault) => by.post(`/vaults/${vault}/secrets:move`, { prefix: 'a', toPrefix: 'b', dryRun: true }),
      'run',
    ],
    [
      'a deletion that is tried',
      (by, vault) => by.post(`/vaults/${vault}/secrets:delete`, { names: ['missing'], dryRun: true }),
      'run',
    ],
  ])(
    'the refusal of %s does not tell a caller who lost a right in the queue which names there are',
    async (what, ask, kind) => {
      const vault = `queue-${what.split(' ')[1]}`;
      await alice.createVault(vault);
      await alice.putSecret(vault, 'a/s', 'v');
      await alice.putSecret(vault, 'b/s', 'v');
      const mallory = await newUser(system, 'mallory');
      await grant(alice, vault, 'user:mallory', { owner: true }).expect(201);
      const { reached, goOn } = holdCall(system.vault.bulkTurns, kind);
      const asking = Promise.resolve(ask(mallory, vault));
      await reached;
      await grant(alice, vault, 'user:mallory', { secrets: ['list'] }).expect(200);
      goOn();
      expect((await asking).status).toBe(403);
    },
  );

  test.each([
    ['a grant', (app: string) => alice.delete(`/vaults/under-way/grants/application:${app}`).expect(204)],
    ['an application', (app: string) => admin.delete(`/applications/${app}`).expect(204)],
  ])('the loss of %s waits for a write that began before it, and no write commits after it', async (what, withdraw) => {
    if (what === 'a grant') {
      await alice.createVault('under-way');
      // The DEK is in the cache then, so the first attempt of the transaction gets to its end.
      await alice.putSecret('under-way', 'other', 'v');
    }
    const name = what.replaceAll(' ', '-');
    const app = await newApplication(system, name);
    await grant(alice, 'under-way', `application:${name}`, { secrets: ['write'] }).expect(201);
    const { reached, goOn } = holdBeforeCommit();
    const writing = app.put('/vaults/under-way/secrets/s', { value: name }).then((answer) => answer.status);
    await reached;
    let isWithdrawn = false;
    const withdrawing = withdraw(name).then(() => (isWithdrawn = true));
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    expect(isWithdrawn).toBe(false);
    goOn();
    expect(await writing).toBeLessThan(202);
    await withdrawing;
    expect(await alice.readSecret('under-way', 's')).toBe(name);
    const refused = await app.put('/vaults/under-way/secrets/s', { value: 'after' });
    expect([401, 403, 404]).toContain(refused.status);
  });

  test.each([
    ['setting TOTP up', (mallory: Person) => mallory.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)],
    ['removing it again', (mallory: Person) => mallory.delete('/auth/totp').expect(204)],
    ['a password for one sign-in', () => admin.request('post', '/users/mallory:resetPassword').expect(200)],
  ])('%s waits for the writes of the user that are under way', async (what, change) => {
    const vault = `signs-in-${what.split(' ')[0]}`;
    const mallory = await newUser(system, 'mallory');
    await mallory.createVault(vault);
    await mallory.putSecret(vault, 'other', 'v');
    const { reached, goOn } = holdBeforeCommit();
    const writing = mallory.put(`/vaults/${vault}/secrets/s`, { value: 'v' }).then((answer) => answer.status);
    await reached;
    let isChanged = false;
    const changing = change(mallory).then(() => (isChanged = true));
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    expect(isChanged).toBe(false);
    goOn();
    expect(await writing).toBe(201);
    await changing;
    const records = await admin.auditEntries({ limit: '20' });
    const [write, changed] = ['secret.write', /^auth\.totp|^user\.resetPassword/].map((action) =>
      records.findIndex(({ event }) => event.action.match(action)),
    );
    expect(changed).toBeLessThan(write!);
    // The users of later tests have the same name.
    await admin.delete(`/vaults/${vault}?recursive=true`).expect(204);
  });

  describe('and so it is with every other change', () => {
    test.each([
      [
        'a user',
        'role',
        403,
        (by: Person) => by.post('/users', { username: 'planted', role: 'admin', password: PASSWORD }),
      ],
      [
        'a user',
        'session',
        401,
        (by: Person) => by.post('/users', { username: 'planted', role: 'admin', password: PASSWORD }),
      ],
      ['an application', 'account', 401, (by: Person) => by.post('/applications', { name: 'planted' })],
      ['a rotation', 'role', 403, (by: Person) => by.post('/rotations', { kind: 'dek' })],
      ['a grant', 'ownership', 404, (by: Person) => grant(by, 'owned', 'user:bob', { secrets: ['read'] })],
      ['a vault', 'ownership', 404, (by: Person) => by.patch('/vaults/owned', { description: 'planted' })],
    ] as const)(
      '%s is not made or changed by a caller who loses the %s meanwhile',
      async (_what, lost, status, change) => {
        const mallory = await newUser(system, 'mallory', lost === 'ownership' ? 'developer' : 'admin');
        if ((await alice.get('/vaults/owned')).status === 404) await alice.createVault('owned');
        await grant(alice, 'owned', 'user:mallory', { owner: true });
        const { reached, goOn } = holdBeforeTransaction('transaction');
        const changing = change(mallory).then((answer) => answer);
        await reached;
        if (lost === 'role') await admin.patch('/users/mallory', { role: 'developer' }).expect(200);
        if (lost === 'session') await admin.post('/users/mallory:revokeSessions').expect(204);
        if (lost === 'account') await admin.delete('/users/mallory').expect(204);
        if (lost === 'ownership') await alice.delete('/vaults/owned/grants/user:mallory').expect(204);
        goOn();
        expect((await changing).status).toBe(status);
        const [record] = await admin.auditEntries({ decision: 'deny' });
        expect(record!.event).toMatchObject({ actor: { name: 'mallory' } });
        await admin.get('/users/planted').expect(404);
        await admin.get('/applications/planted').expect(404);
        expect((await alice.get('/vaults/owned').expect(200)).body.description).not.toBe('planted');
      },
    );
  });

  test('a ceo who becomes an admin before the transaction of a break-glass is not shown the value', async () => {
    await alice.createVault('glass');
    await alice.putSecret('glass', 's', 'behind glass');
    const mallory = await newUser(system, 'mallory', 'ceo');
    const { reached, goOn } = holdBeforeTransaction('transaction');
    const breaking = mallory
      .post('/vaults/glass/secrets/s:breakGlass', { reason: 'an incident that needs the value' })
      .then((answer) => answer);
    await reached;
    await admin.patch('/users/mallory', { role: 'admin' }).expect(200);
    goOn();
    const answer = await breaking;
    expect(answer.status).toBe(403);
    expect(answer.text).not.toContain('behind glass');
    const [record] = await admin.auditEntries({ decision: 'deny' });
    expect(record!.event).toMatchObject({ action: 'secret.breakGlass', actor: { name: 'mallory' } });
    expect(await admin.auditEntries({ action: 'secret.breakGlass', decision: 'allow', vault: 'glass' })).toEqual([]);
  });

  test('an admin who is disabled while the end of a body is held back makes no user', async () => {
    const mallory = await newUser(system, 'mallory', 'admin');
    const body = JSON.stringify({ username: 'planted', role: 'admin', password: PASSWORD });
    const { hostname, port } = new URL(system.url);
    const socket = connect(Number(port), hostname);
    const head = [
      'POST /api/v1/users HTTP/1.1',
      `Host: ${hostname}`,
      `Authorization: Bearer ${mallory.token}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Expect: 100-continue',
      'Connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    // The server asks for the body of somebody whom it has let in.
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 100 /);
    socket.write(body.slice(0, -1));
    await admin.patch('/users/mallory', { disabled: true }).expect(200);
    socket.write(body.slice(-1));
    const answer = (await socket.toArray()).join('');
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    await admin.get('/users/planted').expect(404);
    const [record] = await admin.auditEntries({ decision: 'deny', action: 'user.create' });
    expect(record!.event).toMatchObject({ rule: 'session-ended', actor: { name: 'mallory' } });
  });

  test('the deletion of a vault that is written to all the time does not wait for its writers to stop', async () => {
    await alice.createVault('busy');
    const stop = new AbortController();
    const answers: number[] = [];
    const writer = async (n: number) => {
      while (!stop.signal.aborted)
        answers.push((await alice.put(`/vaults/busy/secrets/${n}`, { value: `${Date.now()}` })).status);
    };
    const writers = Array.from({ length: 8 }, (_, n) => writer(n));
    await expectEventually(async () => expect(answers.length).toBeGreaterThan(8));
    await alice.delete('/vaults/busy?recursive=true').expect(204);
    stop.abort();
    await Promise.all(writers);
    expect(answers.filter((status) => ![200, 201, 404].includes(status))).toEqual([]);
  });

  type Begin = Db['lockingTransaction'];

  interface Held {
    reached: Promise<void>;
    goOn(): void;
  }

  /** Holds what kek-service is asked for next, until `goOn`. No DEK is in the cache before. */
  function holdUnwraps(): Held {
    system.vault.keyMaterials.clear();
    system.vault.deks.clear();
    return holdCall(system.vault.keks, 'unwrap');
  }

  /** Holds the next request once all that it shows is there, until `goOn`. */
  function holdRoom(): Held {
    return holdCall(system.vault.audit, 'reserve');
  }

  function holdSeals(): Held {
    return holdCall(system.vault.seals, 'list');
  }

  function holdNewSeal(): Held {
    return holdCall(system.vault.seals, 'add');
  }

  function holdKeks(): Held {
    return holdCall(system.vault.keks, 'list');
  }

  function holdSearch(): Held {
    return holdCall(system.vault.db, 'query', (sql) => /from secret_word/.test(String(sql)));
  }

  function holdList(): Held {
    return holdCall(system.vault.db, 'query', (sql) => /from secret\s/.test(String(sql)));
  }

  /** Holds the next call of a function of which `isMeant` is true, until `goOn`. */
  function holdCall<K extends string>(
    of: { [key in K]?: (...args: never[]) => Promise<unknown> },
    name: K,
    isMeant: (first: unknown) => boolean = () => true,
  ): Held {
    const original = of[name]! as (...args: unknown[]) => Promise<unknown>;
    const [stopped, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const letGo = () => void Object.assign(of, { [name]: original });
    restore = letGo;
    const held = async (...args: unknown[]) => {
      if (!isMeant(args[0])) return original.apply(of, args);
      letGo();
      stopped.resolve();
      await released.promise;
      return original.apply(of, args);
    };
    Object.assign(of, { [name]: held });
    return { reached: stopped.promise, goOn: () => released.resolve() };
  }

  function holdBeforeTransaction(kind: 'lockingTransaction' | 'transaction' = 'lockingTransaction') {
    return hold(kind, (begin, wait) => (locks, work) => wait().then(() => begin(locks, work)));
  }

  function holdBeforeCommit() {
    return hold('lockingTransaction', (begin, wait) => (locks, work) => {
      return begin(locks, async (tx) => {
        const result = await work(tx);
        await wait();
        return result;
      });
    });
  }

  /** Stops the next transaction of a change by somebody, until `goOn`. */
  function hold(
    kind: 'lockingTransaction' | 'transaction',
    stopping: (begin: Begin, wait: () => Promise<void>) => Begin,
  ) {
    const { db } = system.vault;
    const { transaction, lockingTransaction } = db;
    const original: Begin = kind === 'transaction' ? (locks, work) => transaction(work, locks) : lockingTransaction;
    const [stopped, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const letGo = () => void Object.assign(db, { transaction, lockingTransaction });
    restore = letGo;
    const stopOnce = stopping(original, () => {
      stopped.resolve();
      return released.promise;
    });
    const begin: Begin = (locks, work) => {
      // Cardea itself holds nobody's account.
      if (locks.shared === undefined || locks.shared.length === 0) return original(locks, work);
      letGo();
      return stopOnce(locks, work);
    };
    if (kind === 'transaction') db.transaction = (work, locks) => begin(locks ?? {}, work);
    else db.lockingTransaction = begin;
    return { reached: stopped.promise, goOn: () => released.resolve() };
  }
});

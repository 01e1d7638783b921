import { HOUR_MS } from '@cardea/contracts/durations';
import { SqliteConnection } from '@cardea/storage/sqlite-connection';
import { vaultLock } from '@cardea/vault/locks';
import type { Entry, Person } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, jest, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { callerOf, expectEventually } from '../access/probes.ts';
import { countStatuses } from '../identity/identity.ts';

const content = JSON.stringify({ k: 'v' });
const IMPORT = { format: 'json', content };
const LONG = 300;
const EXPORT = { format: 'json' };

inEachProfile((system, { alice, bob, admin }) => {
  test('a caller has one bulk call at a time, a few wait, and the others are told when to come back', async () => {
    const vaultId = await newVault('busy', ['a', 'k']);
    const calls: [string, object][] = [
      ['import', IMPORT],
      ['import', { ...IMPORT, dryRun: true }],
      ['move', { prefix: 'a', toPrefix: 'b', dryRun: true }],
      ['import', IMPORT],
      ['export', EXPORT],
      ['import', IMPORT],
    ];

    const release = await holdVault(system, vaultId);
    const refused: object[] = [];
    const sent = calls.map(async ([verb, body]) => {
      const answer = await alice.post(`/vaults/busy/secrets:${verb}`, body);
      const { detail } = answer.body as { detail: string };
      if (answer.status === 429) refused.push({ detail, retryAfter: answer.get('Retry-After') });
      if (refused.length === 2) void release();
      return answer;
    });
    expect(countStatuses(await Promise.all(sent))).toEqual({ 200: 4, 429: 2 });
    const detail = 'you have too many imports, exports, moves and deletions of many secrets under way: repeat the call';
    expect(refused).toEqual(Array.from({ length: 2 }, () => ({ detail, retryAfter: '2' })));

    // Once they are done, the next is let in. A refusal is in the log.
    await alice.post('/vaults/busy/secrets:export', EXPORT).expect(200);
    const denied = await admin.auditEntries({ vault: 'busy', decision: 'deny' });
    expect(new Set(denied.map(({ event }) => event.rule))).toEqual(new Set(['bulk-turns']));
  });

  test('a caller has two long batches at a time, more wait, and short ones take no turn', async () => {
    const vaultId = await newVault('batches', ['k']);
    await sendBatch(alice, 'Write', 11).expect(200);

    const release = await holdVault(system, vaultId);
    const refused = Promise.withResolvers<Awaited<ReturnType<typeof sendBatch>>>();
    const sent = Array.from({ length: 35 }, async () => {
      const answer = await sendBatch(alice, 'Write', 11);
      if (answer.status === 429) refused.resolve(answer);
      return answer;
    });
    const first = await refused.promise;
    expect(first.body.detail).toBe('you have too many batches under way: repeat the call');
    expect(first.get('Retry-After')).toBe('2');
    const read = await sendBatch(alice, 'Read', 11);
    expect([read.status, read.body.detail]).toEqual([429, first.body.detail]);
    await sendBatch(alice, 'Read', 10).expect(200);
    await release();
    expect(countStatuses(await Promise.all(sent))).toEqual({ 200: 34, 429: 1 });

    await sendBatch(alice, 'Read', 11).expect(200);
    const denied = await admin.auditEntries({ vault: 'batches', decision: 'deny' });
    expect(denied.map(({ event }) => [event.action, event.rule])).toEqual([
      ['secret.read', 'bulk-turns'],
      ['secret.write', 'bulk-turns'],
    ]);
  });

  test('a dry run waits for no change of its vault, and tells what the call does then', async () => {
    const vaultId = await newVault('tried', ['old/a', 'old/b', 'old/c', 'k']);
    await alice.delete('/vaults/tried/secrets/old/c').expect(204);
    const calls: [string, object][] = [
      ['import', { format: 'json', content: JSON.stringify({ k: 'v2', fresh: 'v', 'old/c': 'v' }) }],
      ['move', { prefix: 'old', toPrefix: 'old/new' }],
      ['delete', { prefix: 'old' }],
      ['delete', { names: ['fresh', 'k'] }],
    ];
    for (const [verb, body] of calls) {
      const path = `/vaults/tried/secrets:${verb}`;
      const release = await holdVault(system, vaultId);
      const tried = await alice.post(path, { ...body, dryRun: true }).expect(200);
      await release();
      const done = await alice.post(path, body).expect(200);
      const items = (done.body.items as object[]).map((item) => ({ ...item, version: undefined }));
      expect(tried.body.items).toEqual(items);
    }
    const entries = await admin.auditEntries({ vault: 'tried' });
    const dry = entries.filter(({ event }) => event.reason === 'dry run').map(({ event }) => event.action);
    expect(dry.toReversed()).toEqual(['secret.import', 'secret.move', 'secret.delete', 'secret.delete']);
  });

  // A statement of PostgreSQL leaves the event loop by itself.
  if (system.profile === 'mini') {
    test('a bulk call lets others in after each of its steps that was long', async () => {
      await newVault('long', []);
      const calls: [string, object][] = [
        ['import', documentOf(LONG, '1')],
        ['import', documentOf(LONG, '2')],
        ['export', EXPORT],
        ['move', { prefix: 'all', toPrefix: 'moved', dryRun: true }],
        ['move', { prefix: 'all', toPrefix: 'moved' }],
        ['delete', { prefix: 'moved' }],
      ];
      for (const [verb, body] of calls) {
        const { status, statements } = await longestTurnOf(() => alice.post(`/vaults/long/secrets:${verb}`, body));
        expect([verb, status]).toEqual([verb, 200]);
        // Seen: 7 to 15, and 262 to 3,315 when nothing lets others in.
        expect(statements).toBeLessThan(100);
      }
    });
  }

  test('a right that is lost while a call waits for its turn shows nothing', async () => {
    const expiresAt = new Date(system.now().getTime() + HOUR_MS).toISOString();
    const { release, exports } = await fillTurns('lost', { secrets: ['read', 'list'], expiresAt });
    system.passTime(2 * HOUR_MS);
    await release();
    await Promise.all(exports.map(({ answered }) => answered));
    const statuses = countStatuses(exports);
    // A request that waits for its turn before it is handled is identified again, and its token is too old by then.
    const refused = (statuses[404] ?? 0) + (statuses[401] ?? 0);
    expect([statuses[200], refused]).toEqual([undefined, 1]);
    expect(await exportsOf('lost', 'allow')).toEqual([]);
  });

  test('a client that goes away while its export waits is not recorded as one that was shown something', async () => {
    const { release, exports } = await fillTurns('gone', { secrets: ['read', 'list'] });
    const waiting = exports.filter(({ status }) => status === 0);
    expect(waiting).toHaveLength(1);
    for (const { call } of waiting) call.abort();
    await alice.get('/vaults/gone').expect(200);
    await release();
    await Promise.allSettled(exports.map(({ answered }) => answered));
    await expectEventually(async () => {
      const denied = await exportsOf('gone', 'deny');
      const gone = denied.map(({ event }) => event).filter(({ rule }) => rule === 'client-gone');
      expect(gone.map(({ actor }) => actor.name)).toEqual(waiting.map(() => 'bob'));
    });
  });

  /** Bob's turn is taken. He sends exports of a vault until one is refused: of these a caller has one under way. It waits. */
  async function fillTurns(vault: string, granted: object) {
    await newVault(vault, ['k']);
    await system.as('bob');
    await grant(alice, vault, 'user:bob', granted);

    const [released, isTaken] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const turn = system.vault.bulkTurns.run(await callerOf(bob), async () => {
      isTaken.resolve();
      await released.promise;
    });
    await isTaken.promise;
    const exports: { call: ReturnType<Person['post']>; status: number; answered: Promise<void> }[] = [];
    while (!exports.some(({ status }) => status === 429)) {
      const call = bob.post(`/vaults/${vault}/secrets:export`, EXPORT);
      const sent = { call, status: 0, answered: Promise.resolve() };
      sent.answered = call.then(({ status }) => void (sent.status = status));
      sent.answered.catch(() => undefined);
      exports.push(sent);
      await alice.get(`/vaults/${vault}`).expect(200);
    }
    const release = async () => {
      released.resolve();
      await turn;
    };
    return { release, exports };
  }

  async function exportsOf(vault: string, decision: string): Promise<Entry[]> {
    return (await system.as('admin')).auditEntries({ vault, action: 'secret.export', decision });
  }

  /** A vault of alice with these secrets. Returns its id. */
  async function newVault(name: string, secrets: string[]): Promise<string> {
    await system.as('alice');
    await alice.createVault(name);
    for (const secret of secrets) await alice.putSecret(name, secret, 'v1');
    const { body } = await alice.get(`/vaults/${name}`).expect(200);
    return body.id as string;
  }
});

/** A batch in the vault `batches`. */
function sendBatch(person: Person, verb: 'Read' | 'Write', length: number): ReturnType<Person['post']> {
  const names = Array.from({ length }, (_, n) => `s${n}`);
  const body = verb === 'Read' ? { names } : { secrets: names.map((name) => ({ name, value: 'v' })) };
  return person.post(`/vaults/batches/secrets:batch${verb}`, body);
}

function documentOf(count: number, value: string): object {
  const values = Array.from({ length: count }, (_, n) => [`all/${n}`, value]);
  return { format: 'json', content: JSON.stringify(Object.fromEntries(values)) };
}

/**
 * The most statements of SQLite that a call sends in one turn of the event loop, if each look of long work at the clock
 * finds its slice over. Only its looks: clients of other services look too, and would give up what takes seconds.
 */
async function longestTurnOf(call: () => PromiseLike<{ status: number }>) {
  let looks = 0;
  const clock = performance.now.bind(performance);
  const now = jest.spyOn(performance, 'now').mockImplementation(() => {
    const isOfLongWork = callers().includes('/long-work.ts');
    return isOfLongWork ? clock() + 4 * looks++ : clock();
  });
  const statements = jest.spyOn(SqliteConnection.prototype, 'prepare');
  const seen = { most: 0, isDone: false };
  const count = () => {
    seen.most = Math.max(seen.most, statements.mock.calls.length);
    statements.mockClear();
    if (!seen.isDone) setImmediate(count);
  };
  setImmediate(count);
  const { status } = await call();
  seen.isDone = true;
  now.mockRestore();
  statements.mockRestore();
  return { status, statements: seen.most };
}

/** The functions that have called this one, as text: as many as it takes to see behind a mock. */
function callers(): string {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 8;
  const { stack = '' } = new Error('only its stack is read');
  Error.stackTraceLimit = stackTraceLimit;
  return stack;
}

/** Holds a vault and its secrets as a change does, until the function that it returns is called. */
async function holdVault(system: TestSystem, vaultId: string): Promise<() => Promise<void>> {
  const [held, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = system.vault.db.lockingTransaction({ exclusive: [vaultLock(vaultId)] }, async (tx) => {
    await tx.query('select id from secret where vault_id = $1 for update', [vaultId]);
    isHeld.resolve();
    await held.promise;
  });
  await isHeld.promise;
  return async () => {
    held.resolve();
    await holding;
  };
}

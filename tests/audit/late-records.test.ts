import { setTimeout as sleep } from 'node:timers/promises';
import type { Db } from '@cardea/storage/db';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { untilAnswers } from '../secrets/ground.ts';

inEachProfile((system, { alice, admin }) => {
  test('a read whose record the log took too late is recorded as one that showed nothing', async () => {
    await alice.createVault('late');
    for (const name of ['a', 'b']) await alice.putSecret('late', name, 'v');

    // The log has got the records and waits for its database, longer than api-service waits for the log.
    const log = await hold(system.openDatabase('audit'), LOG_HEAD);
    const answers = await Promise.all([
      alice.get('/vaults/late/secrets/a'),
      alice.get('/vaults/late/secrets'),
      alice.post('/vaults/late/secrets:batchRead', { names: ['a', 'b'] }),
    ]);
    await log.letGo();
    for (const { status, body } of answers) expect([status, body.code]).toEqual([503, 'unavailable']);

    await untilAnswers(admin);
    system.passTime(15_000);
    await system.as('admin');
    await system.runJob('outbox.relay', {});
    await system.runJob('outbox.relay', {});
    const entries = await admin.auditEntries({ vault: 'late' });
    const told = answers.map(({ headers }) =>
      entries
        .filter(({ event }) => event.requestId === headers['x-request-id'] && event.rule === 'records-missing')
        .map(({ event: { action, decision, actor, resource } }) =>
          [action, decision, actor.name, resource?.name ?? ''].join(' '),
        )
        .toSorted(),
    );
    expect(told).toEqual([
      ['secret.read deny alice a'],
      ['secret.list deny alice '],
      ['secret.read deny alice a', 'secret.read deny alice b'],
    ]);
  });

  test('a read whose record the log took too late is recorded so although the database did not answer either', async () => {
    await alice.createVault('later');
    await alice.putSecret('later', 's', 'v');
    const log = await hold(system.openDatabase('audit'), LOG_HEAD);
    const outbox = await hold(system.openDatabase(), OUTBOX[system.profile]);
    const answer = await alice.get('/vaults/later/secrets/s');
    await Promise.all([log.letGo(), outbox.letGo()]);
    expect([answer.status, answer.body.code]).toEqual([503, 'unavailable']);

    await untilAnswers(admin);
    system.passTime(15_000);
    await system.as('admin');
    const told = async () => {
      await system.runJob('outbox.relay', {});
      const entries = await admin.auditEntries({ vault: 'later', decision: 'deny' });
      return entries
        .filter(({ event }) => event.requestId === answer.headers['x-request-id'] && event.rule === 'records-missing')
        .map(({ event: { action, rule, actor, resource } }) => [action, rule, actor.name, resource?.name].join(' '));
    };
    // A timer writes it once the database answers.
    const giveUpAt = performance.now() + 60_000;
    while ((await told()).length === 0 && performance.now() < giveUpAt) await sleep(200);
    expect(await told()).toEqual(['secret.read records-missing alice s']);
  });
});

const LOG_HEAD = 'update audit_head set size = size + 1 where id = 1';
/** What keeps others from the outbox: SQLite has one writer. */
const OUTBOX = { mini: 'delete from outbox where 1 = 0', full: 'lock table outbox in access exclusive mode' };

/** Runs a statement in a transaction that ends, and is taken back, when it is let go. */
async function hold(db: Db, sql: string): Promise<{ letGo(): Promise<void> }> {
  const [held, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = db.transaction(async (tx) => {
    await tx.query(sql);
    isHeld.resolve();
    await held.promise;
    throw new Error('taken back');
  });
  await Promise.race([isHeld.promise, holding]);
  return {
    async letGo() {
      held.resolve();
      await expect(holding).rejects.toThrow('taken back');
      await db.close();
    },
  };
}

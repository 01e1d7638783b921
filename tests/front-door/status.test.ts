import { MINUTE_MS } from '@cardea/contracts/durations';
import type { Status } from '@cardea/contracts/status';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { newApplication } from '../access/granting.ts';
import { at, query, untilAnswers } from '../secrets/ground.ts';

inEachProfile((system) => {
  async function status(): Promise<Status> {
    const { body } = await (await system.as('admin')).get('/status').expect(200);
    return body as Status;
  }

  test('the status of a new installation shows its keys, and that nothing is late', async () => {
    await (await system.as('alice')).createVault('payments');
    const now = await status();
    expect(now).toMatchObject({
      late: [],
      seal: 'open',
      keks: [{ version: 1, state: 'enabled', createdAt: expect.any(String) }],
      // One of the vault, one of the system.
      deks: { active: 2, retiring: 0, oldestActiveSince: expect.any(String), byKek: [{ kekVersion: 1, count: 2 }] },
      rotations: { open: 0 },
    });
    expect(now.audit.entries).toBeGreaterThan(0);
    expect(now.audit.signed).toBeLessThanOrEqual(now.audit.entries);
    expect(now.due.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['version.expiry', 'user.expiry', 'grant.expiry', 'secret.trash', 'vault.deletion']),
    );
    expect(now.due.filter(({ lagSeconds }) => lagSeconds > 0)).toEqual([]);
    expect(now.jobs!.find(({ job }) => job === 'secret.sweep')).toEqual({ job: 'secret.sweep', waiting: 0 });
  });

  test('work that nobody does is shown with its age, and called late after 5 minutes, until it is done', async () => {
    const alice = await system.as('alice');
    await alice.createVault('late');
    const expiresAt = new Date(system.now().getTime() + MINUTE_MS).toISOString();
    await alice.put(at('late', 's'), { value: 'v', expiresAt }).expect(201);
    system.passTime(3 * MINUTE_MS);
    const soon = await status();
    expect(dueOf(soon, 'version.expiry')!.since).toBe(expiresAt);
    expect(dueOf(soon, 'version.expiry')!.lagSeconds).toBeGreaterThanOrEqual(120);
    expect(soon.late).not.toContain('version.expiry');
    system.passTime(4 * MINUTE_MS);
    expect((await status()).late).toContain('version.expiry');
    expect(await metric('cardea_due_lag_seconds', 'kind="version.expiry"')).toBeGreaterThanOrEqual(360);
    await system.runJob('secret.sweep', {});
    const after = await status();
    expect([after.late.includes('version.expiry'), dueOf(after, 'version.expiry')]).toEqual([
      false,
      { kind: 'version.expiry', lagSeconds: 0 },
    ]);
    expect(await metric('cardea_due_lag_seconds', 'kind="version.expiry"')).toBe(0);
    expect(await metric('cardea_jobs_waiting', 'job_name="secret.sweep"')).toBe(0);
  });

  test('a rotation that the schedule owes is due work', async () => {
    // By the clock of the database, so that nothing else becomes due.
    const halfDay = system.vault.settings.dekRotationMs;
    const [row] = await query<{ first_used_at: number }>(
      system,
      `update dek set first_used_at = $1 where vault_id = (select id from vault where name = 'late')
       returning first_used_at`,
      [system.now().getTime() - halfDay - 10 * MINUTE_MS],
    );
    const before = await status();
    expect(dueOf(before, 'rotation.dek')!.since).toBe(new Date(row!.first_used_at + halfDay).toISOString());
    expect(before.late).toContain('rotation.dek');
    await query(system, `update dek set first_used_at = $1 where first_used_at < $1`, [system.now().getTime()]);
    expect((await status()).late).not.toContain('rotation.dek');
  });

  test('a vault that was deleted and records that wait are due work too', async () => {
    const alice = await system.as('alice');
    await alice.createVault('deleted');
    await alice.delete('/vaults/deleted').expect(204);
    await system.stopService('audit');
    await alice.post('/vaults', { name: 'unrecorded' }).expect(503);
    await system.startService('audit');
    await untilAnswers(alice);
    system.passTime(6 * MINUTE_MS);
    const before = await status();
    expect(before.late).toEqual(expect.arrayContaining(['vault.deletion', 'outbox.record']));
    expect(before.audit.waiting).toBeGreaterThan(0);
    await system.runJob('vault.sweep', {});
    await system.runJob('outbox.relay', {});
    const after = await status();
    expect(after.late.filter((one) => one !== 'audit')).toEqual([]);
    expect(await query(system, `select id from outbox where event like '%unrecorded%'`)).toEqual([]);
  });

  test('without kek-service the status says so, and shows the rest', async () => {
    await system.as('admin');
    await system.stopService('kek');
    try {
      const now = await status();
      expect([now.seal, now.keks, now.late.includes('seal')]).toEqual(['unreachable', undefined, true]);
      expect(now.deks.active).toBeGreaterThan(0);
    } finally {
      await system.startService('kek');
    }
    expect((await status()).seal).toBe('open');
  });

  test('the status is for admins and oversight, and who looks is recorded', async () => {
    for (const [name, expected] of [
      ['admin', 200],
      ['carla', 200],
      ['alice', 403],
    ] as const) {
      await (await system.as(name)).get('/status').expect(expected);
    }
    await (await newApplication(system, 'monitor')).get('/status').expect(403);
    await system.stranger.get('/status').expect(401);
    const entries = await (await system.as('admin')).auditEntries({ action: 'status.read', limit: '5' });
    expect(entries.toReversed().map(({ event }) => [event.decision, event.actor.name, event.rule])).toEqual([
      ['allow', 'admin', 'role:admin'],
      ['allow', 'carla', 'role:ceo'],
      ['deny', 'alice', 'role:developer'],
      ['deny', 'monitor', 'default-deny'],
      ['deny', undefined, 'no-token'],
    ]);
  });

  /** A metric of api-service with one label. */
  async function metric(name: string, label: string): Promise<number> {
    const text = await (await fetch(`${system.opsUrl}/metrics`)).text();
    const line = text.split('\n').find((one) => one.startsWith(`${name}{`) && one.includes(label));
    return Number(line?.split(' ').at(-1));
  }
});

function dueOf({ due }: Status, kind: string): Status['due'][number] | undefined {
  return due.find((one) => one.kind === kind);
}

import { noChanges } from '@cardea/contracts/audit-changes';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { audited, changed } from '@cardea/vault/record';
import type { EventFactsList } from '@cardea/vault/record';
import { systemCaller } from '@cardea/vault/system-caller';
import { inEachProfile } from '@cardea/testkit/use-system';
import { describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';

inEachProfile((system) => {
  const three: EventFactsList = [
    { action: 'user.unlock', changes: noChanges },
    { action: 'user.revokeSessions' },
    { action: 'auth.logout' },
  ];

  async function recorded(caller: Caller) {
    const entries = await (await system.as('admin')).auditEntries();
    return entries.filter(({ event }) => event.requestId === caller.requestId).toReversed();
  }

  async function outboxOf(caller: Caller): Promise<unknown[]> {
    return query(system, `select id from outbox where event like $1`, [`%${caller.requestId}%`]);
  }

  test('the log has the keys of an installation from its first one on, as made by Cardea itself', async () => {
    const entries = (await (await system.as('admin')).auditEntries()).map(({ event }) => event).toReversed();
    const made = entries.filter(({ action }) => /^(dek\.create|signingKey\.)/.test(action));
    expect(made.map(({ action, reason }) => [action, reason])).toEqual([
      ['dek.create', undefined],
      ['signingKey.create', 'access'],
      ['signingKey.create', 'refresh'],
    ]);
    for (const { actor, rule, decision } of made) {
      expect([actor, rule, decision]).toEqual([{ id: 'cardea', type: 'service' }, 'first', 'allow']);
    }
    const keys = await query<{ id: string }>(system, `select id from signing_key order by purpose`);
    expect(made.slice(1).map(({ resource }) => resource?.name)).toEqual(keys.map(({ id }) => id));
  });

  test('a change with several events is answered once the log has all of them, with the receipt of the first', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const { value, receipt } = await changed(system.vault, caller, async () => ({ value: 7, facts: three }));
    expect(value).toBe(7);
    const entries = await recorded(caller);
    expect(entries.map(({ event }) => event.action)).toEqual(['user.unlock', 'user.revokeSessions', 'auth.logout']);
    expect(receipt.seq).toBe(entries[0]!.seq);
    await system.vault.outbox.flush();
    expect(await outboxOf(caller)).toEqual([]);
  });

  test('a flush of the outbox waits until its rows are gone, even if an earlier flush has taken them', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const many = Array.from({ length: 200 }, () => three).flat() as unknown as EventFactsList;
    await changed(system.vault, caller, async () => ({ value: 7, facts: many }));
    const before = system.vault.outbox.flush();
    await system.vault.outbox.flush();
    expect(await outboxOf(caller)).toEqual([]);
    await before;
  });

  test('a change that fails leaves no record', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const tooLong: EventFactsList = [
      { action: 'user.unlock', changes: noChanges },
      { action: 'user.revokeSessions', reason: 'x'.repeat(1_025) },
    ];
    await expect(changed(system.vault, caller, async () => ({ value: 7, facts: tooLong }))).rejects.toThrow();
    expect(await recorded(caller)).toEqual([]);
    expect(await outboxOf(caller)).toEqual([]);
  });

  test('a change is not made if its worker could not send the record', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const facts = { action: 'secret.read' } as const;
    await expect(changed(system.vault, caller, async () => ({ value: 7, facts }))).rejects.toThrow('secret.read');
    expect(await recorded(caller)).toEqual([]);
    expect(await outboxOf(caller)).toEqual([]);
  });

  test('an answer with several records is released once the log has all of them', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const { value, receipt } = await audited(system.vault, caller, 'signed-in', three, () => 'shown');
    expect(value).toBe('shown');
    const entries = await recorded(caller);
    expect(entries.map(({ event }) => event.action)).toEqual(['user.unlock', 'user.revokeSessions', 'auth.logout']);
    expect(receipt.seq).toBe(entries[0]!.seq);
  });

  test('an answer with several records is not released if the log takes only some of them', async () => {
    const caller = { ...systemCaller, requestId: crypto.randomUUID() };
    const broken: EventFactsList = [
      { action: 'user.unlock', changes: noChanges },
      { action: 'No Action' as 'auth.me' },
    ];
    await expect(audited(system.vault, caller, 'signed-in', broken, () => 'shown')).rejects.toMatchObject({
      code: 'internal',
    });
  });

  describe('an answer that cannot be released', () => {
    const away = new AppError('unavailable', 'the audit log does not answer');
    const damaged = new Error('this does not open');

    /** An audit log that answers or is known not to answer, and appends events or does not. */
    function logThat({ isAway = false, takes = true }: { isAway?: boolean; takes?: boolean }) {
      const appended: AuditEvent[] = [];
      const audit: AuditLog = {
        admit() {
          if (isAway) throw away;
        },
        async append(event) {
          appended.push(event);
          if (!takes) throw away;
          return { seq: appended.length, leaf: '' };
        },
      };
      return { ctx: { ...system.vault, audit }, appended };
    }

    test('is not prepared while the log is known not to answer, and not recorded', async () => {
      const { ctx, appended } = logThat({ isAway: true });
      let prepared = 0;
      await expect(audited(ctx, systemCaller, 'signed-in', three, () => (prepared += 1))).rejects.toBe(away);
      expect([prepared, appended]).toEqual([0, []]);
    });

    test('because it fails at once is not recorded as shown', async () => {
      const { ctx, appended } = logThat({});
      const work = (): string => {
        throw damaged;
      };
      await expect(audited(ctx, systemCaller, 'signed-in', three, work)).rejects.toBe(damaged);
      expect(appended).toEqual([]);
    });

    test('because the log does not append the record is dropped, however soon it was prepared', async () => {
      const { ctx } = logThat({ takes: false });
      await expect(audited(ctx, systemCaller, 'signed-in', three, () => 'shown')).rejects.toBe(away);
    });
  });
});

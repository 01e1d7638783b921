import { describe, expect, test } from '@jest/globals';
import { auditActions, isAuditAction, mayActFor, maySubmit } from './audit-actions.ts';
import type { AuditAction } from './audit-actions.ts';
import { changesBetween } from './audit-changes.ts';
import { AuditEvent } from './audit-event.ts';
import { toAuditEvent } from './to-audit-event.ts';
import type { EventFacts } from './to-audit-event.ts';

describe('the actions of the audit log', () => {
  test('have the form that an event accepts', () => {
    const { action } = AuditEvent.shape;
    expect(Object.keys(auditActions).filter((name) => !action.safeParse(name).success)).toEqual([]);
  });

  test('belong to the services that do them, and to a worker that relays a change', () => {
    const peers = ['api-service', 'worker', 'kek-service', 'audit-service', 'operator', ''];
    const mayDo = (action: string, decision: 'allow' | 'deny' = 'allow', rule?: string) =>
      peers.filter((peer) => maySubmit(peer, { action, decision, rule }));

    expect(mayDo('secret.read')).toEqual(['api-service']);
    expect(mayDo('secret.read', 'deny', 'records-missing')).toEqual(['api-service', 'worker']);
    expect(mayDo('secret.read', 'allow', 'records-missing')).toEqual(['api-service']);
    expect(mayDo('secret.export', 'deny', 'client-gone')).toEqual(['api-service']);
    expect(mayDo('seal.open', 'deny', 'records-missing')).toEqual(['kek-service']);
    expect(mayDo('user.change')).toEqual(['api-service', 'worker']);
    expect(mayDo('seal.open')).toEqual(['kek-service']);
    expect(mayDo('audit.conflict')).toEqual(['audit-service']);
    expect(mayDo('request.refuse')).toEqual(['api-service', 'kek-service', 'audit-service']);
  });

  test('that are not listed belong to no service, whatever their name', () => {
    for (const action of ['secret.raed', 'constructor', '__proto__', 'toString', '']) {
      expect([action, isAuditAction(action), maySubmit('api-service', { action, decision: 'deny' })]).toEqual([
        action,
        false,
        false,
      ]);
    }
  });

  test('of kek-service are done by no user and no application: none can call it', () => {
    const types = ['user', 'application', 'service', 'anonymous'] as const;
    expect(types.filter((type) => mayActFor('kek-service', type))).toEqual(['service', 'anonymous']);
    expect(types.filter((type) => mayActFor('worker', type))).toEqual(types);
  });

  test('compile only if they are listed, and with the fields that they change', () => {
    // @ts-expect-error -- a change of fields has their old and new values
    const unsaid: EventFacts = { action: 'user.change' };
    // @ts-expect-error -- only `changesBetween` makes changes, so that each has its old and its new value
    const invented: EventFacts = { action: 'user.change', changes: { role: { to: 'admin' } } };
    const unchanged: EventFacts = { action: 'user.change', changes: changesBetween({ role: 'ceo' }, { role: 'ceo' }) };
    const refused: EventFacts = { action: 'user.change', decision: 'deny' };

    const actor = { id: 'a', type: 'user' } as const;
    const told = [unsaid, invented, unchanged, refused].map((facts) => {
      const { changes, reason } = toAuditEvent({ actor }, facts, { id: 'i', at: 0 });
      return [changes, reason];
    });
    expect(told).toEqual([
      [undefined, undefined],
      [{ role: { to: 'admin' } }, undefined],
      [undefined, 'unchanged'],
      [undefined, undefined],
    ]);

    // @ts-expect-error -- there is no such action
    const misspelt: AuditAction = 'secret.raed';
    expect(isAuditAction(misspelt)).toBe(false);
  });
});

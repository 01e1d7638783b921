import { describe, expect, test } from '@jest/globals';
import { auditActions, isAuditAction, maySubmit } from './audit-actions.ts';
import type { AuditAction } from './audit-actions.ts';
import { AuditEvent } from './audit-event.ts';

describe('the actions of the audit log', () => {
  test('have the form that an event accepts', () => {
    const { action } = AuditEvent.shape;
    expect(Object.keys(auditActions).filter((name) => !action.safeParse(name).success)).toEqual([]);
  });

  test('belong to the services that do them, and to a worker that relays a change', () => {
    const peers = ['api-service', 'worker', 'kek-service', 'audit-service', 'operator', ''];
    const mayDo = (action: string) => peers.filter((peer) => maySubmit(peer, action));

    expect(mayDo('secret.read')).toEqual(['api-service']);
    expect(mayDo('user.change')).toEqual(['api-service', 'worker']);
    expect(mayDo('seal.open')).toEqual(['kek-service']);
    expect(mayDo('audit.conflict')).toEqual(['audit-service']);
    expect(mayDo('request.refuse')).toEqual(['api-service', 'kek-service', 'audit-service']);
  });

  test('that are not listed belong to no service, whatever their name', () => {
    for (const action of ['secret.raed', 'constructor', '__proto__', 'toString', '']) {
      expect([action, isAuditAction(action), maySubmit('api-service', action)]).toEqual([action, false, false]);
    }
  });

  test('compile only if they are listed', () => {
    // @ts-expect-error -- there is no such action
    const misspelt: AuditAction = 'secret.raed';
    expect(isAuditAction(misspelt)).toBe(false);
  });
});

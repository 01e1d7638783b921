import { describe, expect, test } from '@jest/globals';
import { auditRules, joinRules } from './audit-rules.ts';
import type { AuditRule } from './audit-rules.ts';

describe('the rules of the audit log', () => {
  test('have one spelling', () => {
    expect(Object.keys(auditRules).filter((rule) => !/^[a-z]+(?:-[a-z]+)*(?:\+[a-z]+)?$/.test(rule))).toEqual([]);
  });

  test('of several rights are named together, each once, in the order of the checks', () => {
    const rule = joinRules(['grant:secret.delete', 'grant:secret.list', 'grant:secret.delete']);
    expect(rule).toBe('grant:secret.delete, grant:secret.list');
    expect(joinRules([rule, 'grant:secret.list', 'grant:secret.write'])).toBe(
      'grant:secret.delete, grant:secret.list, grant:secret.write',
    );
    expect(joinRules(['role:admin', 'role:admin'])).toBe('role:admin');
  });

  test('compile only if they are listed', () => {
    const rules: AuditRule[] = ['self+totp', 'role:ceo', 'grant:key.sign', 'grant:owner'];
    // @ts-expect-error -- there is no such rule
    rules.push('refresh_reuse');
    // @ts-expect-error -- nor such a role
    rules.push('role:undefined');
    // @ts-expect-error -- and rules are joined by `joinRules` alone
    rules.push('role:admin, role:developer');
    expect(rules.filter((rule) => rule in auditRules)).toEqual(['self+totp']);
  });
});

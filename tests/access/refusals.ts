import { expect } from '@jest/globals';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { ErrorCode } from '@cardea/contracts/errors';
import { contentsOf } from '@cardea/testkit/contents';
import type { Entry } from '@cardea/testkit/person';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import type { TestSystem } from '@cardea/testkit/system';

/** Part of the refused input. It must come back nowhere. */
export const CANARY = 'canary-71f3b2d0c4';

export interface ExpectedRefusal {
  status: number;
  code: ErrorCode;
  detail?: RegExp;
  /** The fields of its record beside `decision`, `reason` and `requestId`. */
  event: Partial<AuditEvent>;
}

/**
 * Sends, and expects a complete refusal: a problem (RFC 9457) with the id of the request and nothing of our code or of
 * the input, one record that says deny and the reason, and no change.
 */
export async function expectRefusal(
  system: TestSystem,
  send: () => Promise<RawAnswer>,
  expected: ExpectedRefusal,
): Promise<RawAnswer> {
  const before = await contentsOf(system, tables);
  const answer = await send();
  expect(await contentsOf(system, tables)).toEqual(before);
  expectProblem(answer, expected);
  await expectRecord(system, answer, expected);
  return answer;
}

/** What every answer has, from nginx or from api-service. */
export function expectHeaders({ headers }: RawAnswer): void {
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none';frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'strict-transport-security': expect.stringContaining('max-age='),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'x-request-id': expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/),
  });
  for (const ofDocuments of ['x-xss-protection', 'x-download-options', 'origin-agent-cluster']) {
    expect(headers).not.toHaveProperty(ofDocuments);
  }
  expect(headers).not.toHaveProperty('x-powered-by');
  expect(headers).not.toHaveProperty('server');
}

function expectProblem(answer: RawAnswer, { status, code, detail = /./ }: ExpectedRefusal): void {
  expect([answer.status, answer.body]).toEqual([status, expect.any(String)]);
  expectHeaders(answer);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  const { errors, ...problem } = JSON.parse(answer.body) as Record<string, unknown>;
  expect(problem).toEqual({
    type: `urn:cardea:error:${code}`,
    title: expect.any(String),
    status,
    detail: expect.stringMatching(detail),
    code,
    requestId: answer.headers['x-request-id'],
  });
  if (errors !== undefined) expect(errors).toContainEqual({ path: expect.any(String), message: expect.any(String) });
  expectNothingInside(answer);
}

// Neither the place in our code nor the input.
function expectNothingInside({ headers, body }: RawAnswer): void {
  const everything = body + JSON.stringify(headers);
  expect(everything).not.toMatch(/\.(ts|js|mjs):\d|node_modules|node:internal|\bat (async )?\w+[ .(]\S*\(|Zod|SQLITE/);
  expect(everything).not.toContain(CANARY);
}

async function expectRecord(
  system: TestSystem,
  answer: RawAnswer,
  { code, event }: Pick<ExpectedRefusal, 'code' | 'event'>,
): Promise<void> {
  const admin = await system.as('admin');
  const { body } = await admin.get('/audit/entries?decision=deny&limit=20').expect(200);
  const records = (body.items as Entry[]).filter((entry) => entry.event.requestId === answer.headers['x-request-id']);
  expect(records.map((record) => record.event)).toEqual([expect.objectContaining({ reason: code, ...event })]);
  expect(JSON.stringify(records)).not.toContain(CANARY);
}

/** All data that people keep in Cardea. */
const tables = ['vault', 'vault_grant', 'dek', 'secret', 'secret_version', 'signing_key'];

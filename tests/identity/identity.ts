import { readApiConfig } from '@cardea/api-service/config';
import { startApiService } from '@cardea/api-service/start';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Role } from '@cardea/contracts/caller';
import { hotpCode } from '@cardea/crypto/totp';
import type { Running } from '@cardea/process/run';
import type { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { SECOND_MS } from '@cardea/contracts/durations';
import { expect } from '@jest/globals';

const TOTP_STEP_MS = 30 * SECOND_MS;
const LOOK_BACK = 500;
const OTHERS_IN_A_ROW = 40;

/** A person who has signed in, with their refresh token. */
export interface SignedIn {
  person: Stranger;
  refreshToken: string;
}

/** An answer of the front door. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** Makes a user by the front door. @returns the answer to the admin */
export async function createUser(
  system: TestSystem,
  user: { username: string; role?: Role; password?: string; ttlSeconds?: number; expiresAt?: string },
): Promise<Answer['body']> {
  const admin = await system.as('admin');
  const answer = await admin.post('/users', { role: 'developer', ...user }).expect(201);
  return answer.body as Answer['body'];
}

/** Signs in by the front door, as the client with the header fields `from`. */
export async function signIn(
  system: TestSystem,
  credentials: { username: string; password?: string; otp?: string },
  from: Stranger = system.stranger,
): Promise<SignedIn> {
  const { body } = await from.post('/auth/login', { password: PASSWORD, ...credentials }).expect(200);
  return { person: from.withToken(body.access_token as string), refreshToken: body.refresh_token as string };
}

/** A client at its own address. The system must trust one proxy. */
export function clientAt(system: TestSystem, address: string): Stranger {
  return system.stranger.with({ 'X-Forwarded-For': address });
}

/**
 * The records of requests that were answered a moment ago, oldest first. It reads the newest entries until many in a
 * row belong to other requests, because the records of one request are written together.
 */
export async function recordsOf(
  system: TestSystem,
  ...answers: { headers: Record<string, string | undefined> }[]
): Promise<AuditEvent[]> {
  const asked = new Set(answers.map(({ headers }) => headers['x-request-id']));
  const records: AuditEvent[] = [];
  const missing = new Set(asked);
  let [looked, others] = [0, 0];
  for await (const { event } of (await system.as('admin')).newestEntries()) {
    const isAskedFor = asked.has(event.requestId);
    if (isAskedFor) records.push(event);
    missing.delete(event.requestId);
    others = isAskedFor ? 0 : others + 1;
    looked += 1;
    if (looked === LOOK_BACK || (missing.size === 0 && others === OTHERS_IN_A_ROW)) break;
  }
  return records.toReversed();
}

/** Expects exactly these records of one request, each with at least these fields. */
export async function expectRecords(
  system: TestSystem,
  answer: { headers: Answer['headers'] },
  ...expected: Partial<AuditEvent>[]
): Promise<void> {
  expect(await recordsOf(system, answer)).toEqual(expected.map((event) => expect.objectContaining(event)));
}

/** Another api-service on the same databases, with its own front door. Profile full only. */
export function startReplica(system: TestSystem): Promise<Running> {
  const config = readApiConfig({ ...system.environment('api'), CARDEA_PORT: '0' });
  return startApiService(config, { now: system.now, steadyMs: system.steadyMs, passwordCost: system.passwordCost });
}

/** The current code of an authenticator app for an `otpauth` address. */
export function codeOf(system: TestSystem, uri: string): string {
  const secret = base32Bytes(new URL(uri).searchParams.get('secret')!);
  return hotpCode(secret, Math.floor(system.now().getTime() / TOTP_STEP_MS));
}

/**
 * Passes time to the start of the next TOTP step, whose codes are unused. A test that needs several codes starts here,
 * so that no step ends in between.
 */
export function nextTotpStep(system: TestSystem): void {
  system.passTime(TOTP_STEP_MS - (system.now().getTime() % TOTP_STEP_MS));
}

/** Turns on TOTP for a person who has signed in. This uses up the code. */
export async function turnOnTotp(
  system: TestSystem,
  person: Stranger,
): Promise<{ uri: string; recoveryCodes: string[] }> {
  const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as { uri: string };
  const { body } = await person.post('/auth/totp:confirm', { otp: codeOf(system, uri) }).expect(200);
  return { uri, recoveryCodes: (body as { recoveryCodes: string[] }).recoveryCodes };
}

/** The number of answers of each status. */
export function countStatuses(answers: { status: number }[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

function base32Bytes(text: string): Uint8Array {
  const bits = Array.from(text, (letter) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'),
  );
  const bytes = bits.join('').match(/.{8}/g) ?? [];
  return Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 2));
}

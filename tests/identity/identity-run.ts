import { expect } from '@jest/globals';
import { sha256Hex } from '@cardea/crypto/ids';
import type { Entry } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { clientAt, codeOf } from './identity.ts';

/** The address that the requests of the run come from. */
export const RUN_ADDRESS = '192.0.2.50';

/**
 * Makes every call about identity, with an account and without one.
 * @returns every value in it that was secret or might have been
 */
export async function runThroughIdentity(fresh: TestSystem): Promise<string[]> {
  const at = clientAt(fresh, RUN_ADDRESS).with({ 'User-Agent': 'golden/1' });
  const secrets: string[] = [];
  const keep = <T extends Record<string, unknown>>(body: T): T => {
    secrets.push(
      ...Object.entries(body).flatMap(([name, value]) => (isSecret(name) ? [value].flat().map(String) : [])),
    );
    return body;
  };
  const typed = 'typed-into-the-wrong-field';
  const chosen = 'chosen by its owner, and long';
  secrets.push(typed, chosen, PASSWORD, 'wrong-password-of-hers');
  const boss = at.withToken((await fresh.as('admin')).token);
  const made = keep((await boss.post('/users', { username: 'vera', role: 'developer' }).expect(201)).body);
  await at.post('/auth/login', { username: typed, password: typed }).expect(401);
  await at.post('/auth/login', { username: 'vera', password: 'wrong-password-of-hers' }).expect(401);
  const first = keep(
    (await at.post('/auth/login', { username: 'vera', password: made.oneTimePassword }).expect(200)).body,
  );
  const vera = at.withToken(first.access_token as string);
  await vera.get('/vaults').expect(403);
  await vera.post('/auth/password', { currentPassword: made.oneTimePassword, newPassword: 'password1234' }).expect(400);
  await vera.post('/auth/password', { currentPassword: made.oneTimePassword, newPassword: chosen }).expect(204);
  const totp = (await vera.post('/auth/totp', { currentPassword: chosen }).expect(200)).body;
  secrets.push(new URL(totp.uri as string).searchParams.get('secret')!);
  const otp = codeOf(fresh, totp.uri as string);
  const { recoveryCodes } = keep((await vera.post('/auth/totp:confirm', { otp }).expect(200)).body);
  await at.post('/auth/login', { username: 'vera', password: chosen, otp }).expect(401);
  await at
    .post('/auth/login', { username: 'vera', password: chosen, otp: secrets.at(-1) })
    .expect(200)
    .then(({ body }) => keep(body));
  await vera.get('/auth/sessions').expect(200);
  await vera.post('/auth/totp:disable', { otp: recoveryCodes[0] }).expect(204);
  const next = keep((await at.post('/auth/refresh', { refresh_token: first.refresh_token }).expect(200)).body);
  await at.post('/auth/refresh', { refresh_token: `${String(next.refresh_token).slice(1)}x` }).expect(401);
  await at.with({ 'User-Agent': 'thief/1' }).post('/auth/refresh', { refresh_token: first.refresh_token }).expect(401);
  await at
    .withToken(next.access_token as string)
    .get('/auth/me')
    .expect(401);
  await at
    .withToken(`${String(next.access_token).slice(0, -4)}AAAA`)
    .get('/auth/me')
    .expect(401);
  keep((await boss.post('/users/vera:resetPassword').expect(200)).body);
  await boss.patch('/users/vera', { disabled: true }).expect(200);
  const app = keep((await boss.post('/applications', { name: 'ci' }).expect(201)).body);
  const grant = { grant_type: 'client_credentials', client_id: app.clientId };
  keep((await at.post('/auth/token', { ...grant, client_secret: app.clientSecret }).expect(200)).body);
  await at.post('/auth/token', { ...grant, client_secret: typed }).expect(401);
  const spare = keep((await boss.post('/applications/ci/credentials').expect(201)).body);
  await boss.delete(`/applications/ci/credentials/${spare.id}`).expect(204);
  await at.post('/auth/token', { ...grant, client_secret: spare.clientSecret }).expect(401);
  await boss.delete('/users/vera').expect(204);
  expect(secrets.length).toBeGreaterThan(20);
  return secrets;
}

function isSecret(name: string): boolean {
  return /_token$|^oneTimePassword$|^recoveryCodes$|^clientSecret$/.test(name);
}

/** A secret as text, and as a careless record could have it: hashed, encoded or shortened. */
export function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const encoded = [
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    encodeURIComponent(secret),
  ];
  return [secret, secret.slice(0, 16), secret.slice(-16), sha256Hex(secret), ...encoded].filter(
    ({ length }) => length > 11,
  );
}

/** The exact bytes of every exported entry. */
export async function exportedLog(fresh: TestSystem): Promise<string> {
  const admin = await fresh.as('admin');
  const answer = await admin
    .get('/audit/export')
    .buffer(true)
    .parse((res, done) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => done(null, Buffer.concat(chunks).toString('utf8')));
    })
    .expect(200);
  return answer.body as string;
}

/** A whole event without ids and times, as a line. So an extra field shows. */
export function toGolden({ event }: Entry): string {
  const { id: _id, ts: _ts, requestId: _requestId, ...rest } = event;
  return JSON.stringify(rest).replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<id>');
}

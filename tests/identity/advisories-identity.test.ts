import { readFileSync } from 'node:fs';
import { describe, expect, jest, test } from '@jest/globals';
import { sha256 } from '@cardea/crypto/ids';
import { normalizeRecoveryCode } from '@cardea/crypto/totp';
import { inEachProfile } from '@cardea/testkit/use-system';
import { PASSWORD, createTestSystem } from '@cardea/testkit/system';
import { SECOND_MS } from '@cardea/contracts/durations';
import { query } from '../secrets/ground.ts';
import { createForger } from './forged-tokens.ts';
import {
  clientAt,
  codeOf,
  countStatuses,
  createUser,
  expectRecords,
  recordsOf,
  signIn,
  turnOnTotp,
} from './identity.ts';
import { RUN_ADDRESS, exportedLog, formsOf, runThroughIdentity, toGolden } from './identity-run.ts';

// Vulnerabilities of other products that keep secrets, tried on this one. Each test names its advisory.

inEachProfile(
  (system) => {
    const login = (body: object, address = '192.0.2.1') => clientAt(system, address).post('/auth/login', body);

    test('CVE-2022-41316: a revoked token is refused by the first request after a restart', async () => {
      const admin = await system.as('admin');
      await createUser(system, { username: 'revoked', password: PASSWORD });
      await createUser(system, { username: 'disabled', password: PASSWORD });
      const [out, revoked, disabled] = await Promise.all(
        ['alice', 'revoked', 'disabled'].map((username) => signIn(system, { username })),
      );
      const { body: app } = await admin.post('/applications', { name: 'withdrawn' }).expect(201);
      const grant = { grant_type: 'client_credentials', client_id: app.clientId, client_secret: app.clientSecret };
      const machine = system.stranger.withToken((await system.stranger.post('/auth/token', grant)).body.access_token);
      await machine.get('/auth/me').expect(200);
      await out!.person.post('/auth/logout').expect(204);
      await admin.post('/users/revoked:revokeSessions').expect(204);
      await admin.patch('/users/disabled', { disabled: true }).expect(200);
      await admin.delete('/applications/withdrawn').expect(204);

      for (const { token } of [out!.person, revoked!.person, disabled!.person, machine]) {
        await system.restart();
        await system.stranger.withToken(token).get('/auth/me').expect(401);
      }
    });

    test('CVE-2024-5798: a token for another audience, for none or for several counts as forged', async () => {
      const { person } = await signIn(system, { username: 'bob' });
      const { sign, claims } = await createForger(system, person.token);
      let sent = 0;
      const withAudience = (aud: unknown) =>
        clientAt(system, `192.0.2.${100 + (sent += 1)}`).withToken(sign({ claims: { ...claims, aud } }));
      await withAudience(claims['aud']).get('/auth/me').expect(200);
      const others = [
        undefined,
        '',
        'cardea',
        'cardea-api ',
        'CARDEA-API',
        [],
        ['cardea-api', 'other'],
        ['cardea-api'],
        {},
      ];
      for (const aud of others) {
        const answer = await withAudience(aud).get('/auth/me').expect(401);
        await expectRecords(system, answer, { decision: 'deny', rule: 'token-forged', suspicious: 'token_forged' });
      }
    });

    describe('CVE-2025-6011, CVE-2026-63132:', () => {
      test('an unknown or deleted user costs as much hashing as a known one', async () => {
        await createUser(system, { username: 'shut', password: PASSWORD });
        await (await system.as('admin')).patch('/users/shut', { disabled: true }).expect(200);
        const verify = jest.spyOn(system.vault.passwords, 'verify');
        const hash = jest.spyOn(system.vault.passwords, 'hash');
        try {
          for (const username of ['bob', 'nobody', 'shut', 'No Such Name ☃']) {
            await login({ username, password: 'wrong' }).expect(401);
          }
          expect(
            verify.mock.calls.map(([phc]) => phc?.split('$').slice(0, 4).join('$') ?? 'a decoy of today’s cost'),
          ).toEqual([
            '$argon2id$v=19$m=1024,t=1,p=1',
            'a decoy of today’s cost',
            '$argon2id$v=19$m=1024,t=1,p=1',
            'a decoy of today’s cost',
          ]);
          expect(hash).not.toHaveBeenCalled();
          expect(await system.vault.passwords.verify(undefined, 'wrong')).toBe(false);
        } finally {
          verify.mockRestore();
          hash.mockRestore();
        }
      });

      test('the database compares recovery codes as hashes, so that time says nothing about them', async () => {
        await createUser(system, { username: 'recover', password: PASSWORD });
        const { recoveryCodes } = await turnOnTotp(system, (await signIn(system, { username: 'recover' })).person);
        const rows = await query<{ hash: Uint8Array }>(system, 'select hash from recovery_code');
        const hashes = recoveryCodes.map((code) => hex(sha256(normalizeRecoveryCode(code))));
        expect(rows.map(({ hash }) => hex(hash)).toSorted()).toEqual(hashes.toSorted());
      });
    });

    test('CVE-2025-6004: every spelling of a name counts its failures together, as one user', async () => {
      const spellings = ['admin', ' admin', 'Admin ', 'ADMIN', '\tadmin\n', 'ａｄｍｉｎ', 'ＡＤＭＩＮ', 'aDmIn\u00a0'];
      const guesses = spellings.map((username) => login({ username, password: 'wrong' }, '198.51.100.1'));
      expect(countStatuses(await Promise.all(guesses))).toEqual({ 401: 6, 429: 2 });
      for (const username of spellings) {
        await login({ username, password: 'wrong' }, '198.51.100.1').expect(429);
      }
      const admin = await system.as('admin');
      await admin.post('/users/admin:unlock').expect(204);
      const answer = await login({ username: ' ＡＬＩＣＥ ', password: PASSWORD }).expect(200);
      const [record] = await recordsOf(system, answer);
      expect([record!.actor.name, record!.resource]).toEqual(['alice', { user: 'alice' }]);
    });

    describe('CVE-2025-6014, CVE-2025-6015:', () => {
      test('a code with anything but six digits is no code, used or not', async () => {
        await createUser(system, { username: 'spaced', password: PASSWORD });
        const { uri } = await turnOnTotp(system, (await signIn(system, { username: 'spaced' })).person);
        system.passTime(30 * SECOND_MS);
        const code = codeOf(system, uri);
        const wide = Array.from(code, (digit) => String.fromCodePoint(0xff10 + Number(digit))).join('');
        const texts = [
          ` ${code}`,
          `${code} `,
          `${code.slice(0, 3)} ${code.slice(3)}`,
          `${code.slice(0, 3)}-${code.slice(3)}`,
          `${code}\n`,
          `${code}\u00a0`,
          `${code}x`,
          `0${code}`,
          `+${code.slice(1)}`,
          wide,
        ];
        const admin = await system.as('admin');
        for (const otp of texts) {
          const answer = await login({ username: 'spaced', password: PASSWORD, otp }).expect(401);
          await expectRecords(system, answer, { action: 'auth.login', decision: 'deny', rule: 'otp-wrong' });
          await admin.post('/users/spaced:unlock').expect(204);
        }
        await login({ username: 'spaced', password: PASSWORD, otp: code }).expect(200);
        for (const otp of [code, ...texts]) {
          await login({ username: 'spaced', password: PASSWORD, otp }).expect(401);
          await admin.post('/users/spaced:unlock').expect(204);
        }
      });

      test('guesses of codes are stopped like guesses of passwords', async () => {
        await createUser(system, { username: 'coded', password: PASSWORD });
        const { uri } = await turnOnTotp(system, (await signIn(system, { username: 'coded' })).person);
        const answers = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            login({ username: 'coded', password: PASSWORD, otp: String(i).padStart(6, '0') }, `203.0.113.${i}`),
          ),
        );
        // The answers do not say that the password is right.
        const { 401: wrong = 0, 503: full = 0 } = countStatuses(answers);
        expect(wrong + full).toBe(50);
        const rules = (await recordsOf(system, ...answers)).map(({ rule }) => rule);
        expect(rules.filter((rule) => rule === 'otp-wrong')).toHaveLength(6);
        expect(rules.filter((rule) => rule === 'sign-in-throttle')).toHaveLength(wrong - 6);

        system.passTime(30 * SECOND_MS);
        for (let i = 0; i < 3; i += 1) {
          await login({ username: 'coded', password: PASSWORD, otp: '0' }, `203.0.113.${60 + i}`).expect(401);
        }
        const otp = codeOf(system, uri);
        await login({ username: 'coded', password: PASSWORD, otp }, '203.0.113.70').expect(401);
        await signIn(system, { username: 'coded', otp });
      });
    });

    describe('CVE-2024-0831:', () => {
      test('no record of a run through all identity calls contains a token, a password, a code or a secret', async () => {
        const fresh = await createTestSystem(system.profile, { CARDEA_TRUSTED_PROXIES: '1' });
        try {
          const secrets = await runThroughIdentity(fresh);
          const admin = await fresh.as('admin');
          const text = await exportedLog(fresh);
          expect(text).toContain('"action":"auth.totpConfirm"');
          for (const secret of secrets) {
            for (const form of formsOf(secret)) expect([form, text.includes(form)]).toEqual([form, false]);
          }
          const entries = (await admin.auditEntries()).toReversed();
          const from = entries.findIndex(({ event }) => event.source?.ip === RUN_ADDRESS);
          const golden = readFileSync(new URL('identity-records.golden.jsonl', import.meta.url), 'utf8');
          expect(entries.slice(from).map(toGolden)).toEqual(golden.trimEnd().split('\n'));
        } finally {
          await fresh[Symbol.asyncDispose]();
        }
      });
    });

    describe('CVE-2025-54997, CVE-2025-6000:', () => {
      test('no request can set anything of the audit log', async () => {
        const { endpoints } = system;
        const aboutAudit = endpoints.filter(
          ({ path, action }) => path.includes('/audit') || action.startsWith('audit.'),
        );
        expect(aboutAudit.length).toBeGreaterThan(2);
        expect(aboutAudit.map(({ method }) => method).filter((method) => method !== 'GET')).toEqual([]);
        expect(endpoints.filter(({ path }) => /sink|device|plugin|config|setting/i.test(path))).toEqual([]);
        const admin = await system.as('admin');
        const sink = { type: 'file', path: `${system.dataDir}/sink` };
        for (const path of [
          '/audit',
          '/audit/sinks',
          '/audit/sinks/file',
          '/audit/devices',
          '/sys/audit/file',
          '/audit/entries',
        ]) {
          for (const method of ['post', 'put', 'patch'] as const) {
            const { status } = await admin.request(method, path).send(sink);
            expect([path, method, [404, 405].includes(status)]).toEqual([path, method, true]);
          }
        }
      });
    });
  },
  { CARDEA_TRUSTED_PROXIES: '1' },
);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

import { chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PASSWORD } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { codeOf, createUser, signIn } from '../identity/identity.ts';
import { shown, useTerminal } from './terminal.ts';

inEachProfile((system, { admin }) => {
  const terminal = useTerminal();
  const stateFolder = () => join(terminal.env['XDG_STATE_HOME']!, 'cardea');
  const sessionFile = () =>
    join(
      stateFolder(),
      readdirSync(stateFolder()).find((name) => name.endsWith('.session'))!,
    );
  const login = (...words: string[]) => ['--url', system.url, 'login', '--username', ...words];

  beforeAll(async () => {
    await admin.post('/applications', { name: 'ci' }).expect(201);
  });

  test('a password typed at the prompt signs in, and is not shown', async () => {
    const typed = terminal.startInTerminal(login('bob'));
    await typed.says(/Password/);
    typed.type(`${PASSWORD}\r`);
    await typed.says(/Code of your authenticator/);
    typed.type('\r');
    const ended = await typed.ended;
    expect(ended.code).toBe(0);
    expect(shown(ended)).toContain(`Signed in to ${system.url} as bob.`);
    expect(shown(ended)).not.toContain(PASSWORD);
    // The next commands know the server.
    expect((await terminal.cardea(['whoami'])).stdout).toContain(`server  ${system.url}`);
    const records = await admin.auditEntries({ action: 'auth.login' });
    expect(records[0]!.event).toMatchObject({ actor: { name: 'bob' }, source: { userAgent: 'cardea-cli' } });
  });

  test('only the refresh token is on disk, for this user alone, and another one after each command', async () => {
    const before = readFileSync(sessionFile(), 'utf8');
    expect(Object.keys(JSON.parse(before) as object)).toEqual(['refreshToken']);
    expect(statSync(sessionFile()).mode & 0o777).toBe(0o600);
    expect(statSync(stateFolder()).mode & 0o777).toBe(0o700);
    expect((await terminal.cardea(['whoami'])).code).toBe(0);
    expect(readFileSync(sessionFile(), 'utf8')).not.toBe(before);
    expect(readdirSync(stateFolder()).filter((name) => !name.endsWith('.session'))).toEqual(['server']);
  });

  test('commands at the same time refresh one after the other, and the session goes on', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => terminal.cardea(['whoami', '--json'])));
    expect(all.map(({ code, stderr }) => [code, stderr])).toEqual(Array.from({ length: 6 }, () => [0, '']));
    const suspicious = await admin.auditEntries({ action: 'auth.refresh', decision: 'deny' });
    expect(suspicious).toEqual([]);
  });

  test('a lock of a command that was killed holds up nobody', async () => {
    const gone = (await terminal.shell('echo $$')).stdout.trim();
    writeFileSync(`${sessionFile()}.lock`, gone);
    expect((await terminal.cardea(['whoami'])).code).toBe(0);
  });

  test('a session file that others can read is refused', async () => {
    chmodSync(sessionFile(), 0o644);
    const { code, stderr } = await terminal.cardea(['whoami']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/\(mode 644\).*chmod 600/)]);
    chmodSync(sessionFile(), 0o600);
  });

  test('a code of TOTP comes after the password, at a prompt or on the second line', async () => {
    await createUser(system, { username: 'tess', password: PASSWORD });
    const { person } = await signIn(system, { username: 'tess' });
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    const { body } = await person.post('/auth/totp:confirm', { otp: codeOf(system, uri) }).expect(200);
    const [first, second] = body.recoveryCodes as string[];

    const without = await terminal.cardea(login('tess'), { stdin: PASSWORD });
    expect([without.code, without.stderr]).toEqual([3, expect.stringContaining('Sign in with: cardea login')]);
    expect((await terminal.cardea(login('tess'), { stdin: `${PASSWORD}\n${first}\n` })).code).toBe(0);
    const typed = terminal.startInTerminal(login('tess'));
    await typed.says(/Password/);
    typed.type(`${PASSWORD}\r`);
    await typed.says(/Code of your authenticator/);
    typed.type(`${second}\r`);
    expect((await typed.ended).code).toBe(0);
  });

  test('a one-time password is changed at the first sign-in', async () => {
    const { oneTimePassword } = await createUser(system, { username: 'nina' });
    const typed = terminal.startInTerminal(login('nina'));
    for (const [question, answer] of [
      [/Password/, oneTimePassword as string],
      [/Code of/, ''],
      [/New password/, 'a better horse, a better battery'],
      [/again/, 'a better horse, a better battery'],
    ] as const) {
      await typed.says(question);
      typed.type(`${answer}\r`);
    }
    expect((await typed.ended).code).toBe(0);
    await signIn(system, { username: 'nina', password: 'a better horse, a better battery' });
  });

  test('Ctrl-C at a prompt signs nobody in', async () => {
    const typed = terminal.startInTerminal(login('bob'));
    await typed.says(/Password/);
    typed.type('\u0003');
    const ended = await typed.ended;
    expect(ended.code).toBe(1);
    expect(shown(ended)).toContain('cardea: cancelled');
  });

  test('logging out ends the session, and the next command says how to sign in', async () => {
    expect((await terminal.cardea(login('bob'), { stdin: PASSWORD })).code).toBe(0);
    expect((await terminal.cardea(['logout'])).stdout).toBe('Signed out.\n');
    const { code, stderr } = await terminal.cardea(['whoami']);
    expect([code, stderr]).toEqual([3, 'cardea: nobody has signed in. Sign in with: cardea login.\n']);
  });

  test('a token or an application of the environment is used instead of a session', async () => {
    const token = { CARDEA_TOKEN: (await system.as('alice')).token };
    expect((await terminal.cardea(['whoami'], { env: token })).stdout).toContain('alice');
    expect((await terminal.cardea(login('bob'), { stdin: PASSWORD, env: token })).code).toBe(2);

    const { body } = await (await system.as('admin')).post('/applications/ci/credentials').expect(201);
    const secretFile = join(terminal.folder, 'client-secret');
    writeFileSync(secretFile, `${body.clientSecret as string}\n`);
    const application = { CARDEA_CLIENT_ID: 'ci', CARDEA_CLIENT_SECRET_FILE: secretFile };
    expect((await terminal.cardea(['whoami'], { env: application })).stdout).toContain('application');
    const { code, stderr } = await terminal.cardea(['whoami'], { env: { CARDEA_CLIENT_ID: 'ci' } });
    expect([code, stderr]).toEqual([2, expect.stringContaining('CARDEA_CLIENT_SECRET_FILE')]);
  });

  test('nothing is sent in clear to another machine, or to what is not the address of a server', async () => {
    for (const url of ['http://cardea.example.com', 'ftp://127.0.0.1', 'https://ann:secret@example.com', 'nonsense']) {
      const { code, stderr } = await terminal.cardea(['--url', url, 'whoami']);
      expect([url, code, stderr]).toEqual([url, 2, expect.stringContaining('https')]);
    }
  });
});

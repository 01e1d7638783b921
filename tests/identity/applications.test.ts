import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCredential } from '@cardea/crypto/credential';
import { sha256Hex } from '@cardea/crypto/ids';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Stranger } from '@cardea/testkit/person';
import { describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import { clientAt, countStatuses, expectRecords, recordsOf } from './identity.ts';

const INSIDE = '192.0.2.77';
const OUTSIDE = '198.51.100.1';
const FORM = 'application/x-www-form-urlencoded';

interface Application {
  name: string;
  clientId: string;
  clientSecret: string;
}

inEachProfile((system) => {
  system.settings['CARDEA_TRUSTED_PROXIES'] = '1';

  let made = 0;

  const inMs = (ms: number) => new Date(system.now().getTime() + ms).toISOString();

  async function createApplication(settings: object = {}): Promise<Application> {
    const admin = await system.as('admin');
    const { body } = await admin.post('/applications', { name: `app-${(made += 1)}`, ...settings }).expect(201);
    return body as Application;
  }

  function requestToken(id: string | undefined, secret: string | undefined, from = system.stranger) {
    return from.post('/auth/token', { grant_type: 'client_credentials', client_id: id, client_secret: secret });
  }

  async function tokenOf({ clientId, clientSecret }: Application, from = system.stranger): Promise<Stranger> {
    const { body } = await requestToken(clientId, clientSecret, from).expect(200);
    return from.withToken(body.access_token as string);
  }

  describe('an admin', () => {
    test('makes, reads, lists, changes and deletes an application, and each call is in the audit log', async () => {
      const admin = await system.as('admin');
      const created = await admin.post('/applications', { name: 'ci', description: 'builds' }).expect(201);
      const { clientSecret, ...ci } = created.body;
      expect(ci).toEqual({
        clientId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        name: 'ci',
        description: 'builds',
        allowedCidrs: [],
        disabled: false,
        createdAt: expect.any(String),
      });
      const act = { decision: 'allow', rule: 'role:admin', resource: { application: 'ci' } } as const;
      await expectRecords(system, created, { ...act, action: 'application.create' });
      const read = await admin.get('/applications/ci').expect(200);
      expect(read.body).toEqual(ci);
      await expectRecords(system, read, { ...act, action: 'application.read' });
      const listed = await admin.get('/applications').expect(200);
      expect(listed.body.items).toContainEqual(ci);
      const change = { description: 'deploys', allowedCidrs: ['10.0.0.0/8'] };
      const changed = await admin.patch('/applications/ci', change).expect(200);
      expect(changed.body).toEqual({ ...ci, ...change });
      await expectRecords(system, changed, {
        ...act,
        action: 'application.change',
        changes: { allowedCidrs: { from: [], to: ['10.0.0.0/8'] }, description: { from: 'builds', to: 'deploys' } },
      });
      for (const answer of [read, listed, changed]) expect(answer.text).not.toContain(clientSecret);

      await admin.post('/applications', { name: 'ci' }).expect(409);
      await admin.post('/applications', { name: 'bad', allowedCidrs: ['10.0.0.1/8'] }).expect(400);
      await admin.post('/applications', { name: 'late', expiresAt: inMs(-1) }).expect(400);
      await admin.patch('/applications/ci', { expiresAt: inMs(-1) }).expect(400);
      const deleted = await admin.delete('/applications/ci').expect(204);
      await expectRecords(system, deleted, { ...act, action: 'application.delete' });
      await admin.get('/applications/ci').expect(404);
    });

    test('is the only one who may do this', async () => {
      const { name } = await createApplication();
      for (const who of ['alice', 'carla'] as const) {
        const person = await system.as(who);
        const tries = [
          person.post('/applications', { name: 'mine' }),
          person.get('/applications'),
          person.get(`/applications/${name}`),
          person.patch(`/applications/${name}`, { disabled: true }),
          person.delete(`/applications/${name}`),
          person.post(`/applications/${name}/credentials`),
          person.get(`/applications/${name}/credentials`),
        ];
        for (const refused of tries) {
          const role = who === 'alice' ? 'role:developer' : 'role:ceo';
          await expectRecords(system, await refused.expect(403), { decision: 'deny', rule: role });
        }
      }
    });
  });

  describe('a secret', () => {
    test('is recognisable, has a checksum, and is stored only as a SHA-256', async () => {
      const { clientId, clientSecret } = await createApplication();
      expect(clientSecret).toMatch(/^cardea_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
      expect(isCredential(clientSecret)).toBe(true);
      const rows = await query<{ secret_hash: Uint8Array }>(
        system,
        `select secret_hash from application_credential where application_id = $1`,
        [clientId],
      );
      expect(rows.map((row) => Buffer.from(row.secret_hash).toString('hex'))).toEqual([sha256Hex(clientSecret)]);
      const random = clientSecret.slice('cardea_'.length, 50);
      const files = globSync(join(system.dataDir, '**/*.db*'));
      expect(files.length).toBeGreaterThan(system.profile === 'mini' ? 1 : -1);
      for (const file of files) expect(readFileSync(file).includes(random)).toBe(false);
    });

    test('gives a token by form, by JSON and by Basic, for the id or the name, but not both ways at once', async () => {
      const { name, clientId, clientSecret } = await createApplication();
      const grant = { grant_type: 'client_credentials' };
      const form = new URLSearchParams({ ...grant, client_id: clientId, client_secret: clientSecret }).toString();
      const { stranger } = system;
      const given = [
        await stranger.request('post', '/auth/token').type(FORM).send(form).expect(200),
        await requestToken(clientId, clientSecret).expect(200),
        await requestToken(name, clientSecret).expect(200),
        await stranger.post('/auth/token', grant).set('Authorization', basic(clientId, clientSecret)).expect(200),
        await stranger
          .request('post', '/auth/token')
          .type(FORM)
          .set('Authorization', basic(name, clientSecret))
          .send('grant_type=client_credentials')
          .expect(200),
      ];
      for (const answer of given) {
        expect(answer.body).toEqual({ access_token: expect.any(String), token_type: 'Bearer', expires_in: 300 });
        const record = { action: 'auth.token', decision: 'allow', rule: 'client-credentials' } as const;
        await expectRecords(system, answer, { ...record, resource: { application: name } });
        const me = await stranger.withToken(answer.body.access_token).get('/auth/me').expect(200);
        expect(me.body).toEqual({ id: clientId, type: 'application', name, grants: [] });
      }
      await requestToken(clientId, clientSecret).set('Authorization', basic(clientId, clientSecret)).expect(400);
      await requestToken(clientId, clientSecret).set('Authorization', 'Basic').expect(400);
      await stranger.post('/auth/token', { client_id: clientId, client_secret: clientSecret }).expect(400);
      await stranger.post('/auth/token', { ...grant, grant_type: 'password' }).expect(400);
      await requestToken(clientId, undefined).expect(401);
    });

    test('that is wrong is always answered the same, and only the audit log has the reason', async () => {
      const [one, other, off, old, gone] = await Promise.all(Array.from({ length: 5 }, () => createApplication()));
      const near = await createApplication({ allowedCidrs: ['192.0.2.0/24'] });
      const admin = await system.as('admin');
      await admin.patch(`/applications/${off!.name}`, { disabled: true }).expect(200);
      await admin.patch(`/applications/${old!.name}`, { expiresAt: inMs(1_000) }).expect(200);
      await admin.delete(`/applications/${gone!.name}`).expect(204);
      system.passTime(1_000);
      const { clientId, clientSecret } = one!;
      const lastLetter = clientSecret.endsWith('A') ? 'B' : 'A';
      const unknown = ['credential-unknown', 'credential_unknown'] as const;
      const failures: [string, string, ...(readonly [string, string?])][] = [
        [clientId, other!.clientSecret, ...unknown],
        ['nobody', clientSecret, ...unknown],
        [gone!.clientId, gone!.clientSecret, ...unknown],
        [clientId, clientSecret.slice(0, -1) + lastLetter, 'credential-malformed'],
        [clientId, 'cardea_', 'credential-malformed'],
        [clientId, ` ${clientSecret}`, 'credential-malformed'],
        [off!.clientId, off!.clientSecret, 'application-disabled'],
        [old!.clientId, old!.clientSecret, 'application-expired'],
        [near.clientId, near.clientSecret, 'application-network'],
      ];
      const bodies = new Set<string>();
      for (const [id, secret, rule, suspicious] of failures) {
        const answer = await requestToken(id, secret).expect(401);
        const expected = {
          action: 'auth.token',
          decision: 'deny',
          rule,
          ...(suspicious ? { suspicious } : {}),
        } as const;
        await expectRecords(system, answer, expected);
        bodies.add(JSON.stringify({ ...answer.body, requestId: '' }));
      }
      for (const header of ['Basic !', basic('', ''), `Basic ${Buffer.from('no colon').toString('base64')}`]) {
        const body = { grant_type: 'client_credentials' };
        const answer = await system.stranger.post('/auth/token', body).set('Authorization', header).expect(401);
        bodies.add(JSON.stringify({ ...answer.body, requestId: '' }));
      }
      expect([...bodies]).toEqual([expect.stringContaining('the client id or the client secret is wrong')]);
    });

    test('may have a second one beside it but no third, even if many are requested at once', async () => {
      const application = await createApplication();
      const { name, clientId, clientSecret } = application;
      const admin = await system.as('admin');
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => admin.post(`/applications/${name}/credentials`)),
      );
      expect(countStatuses(answers)).toEqual({ 201: 1, 409: 19 });
      const second = answers.find(({ status }) => status === 201)!;
      expect(second.body).toEqual({
        id: expect.any(String),
        createdAt: expect.any(String),
        clientSecret: expect.stringMatching(/^cardea_/),
      });
      await expectRecords(system, second, {
        action: 'credential.create',
        decision: 'allow',
        resource: { application: name, name: second.body.id },
      });
      await tokenOf(application);
      await tokenOf({ name, clientId, clientSecret: second.body.clientSecret as string });
      const listed = await admin.get(`/applications/${name}/credentials`).expect(200);
      expect(listed.body.items).toHaveLength(2);
      for (const secret of [clientSecret, second.body.clientSecret]) expect(listed.text).not.toContain(secret);
    });

    test('that is withdrawn ends its tokens at once, and those of the other secret still work', async () => {
      const application = await createApplication();
      const { name, clientId } = application;
      const admin = await system.as('admin');
      const second = (await admin.post(`/applications/${name}/credentials`).expect(201)).body;
      const [old, young] = [
        await tokenOf(application),
        await tokenOf({ name, clientId, clientSecret: second.clientSecret as string }),
      ];
      const { items } = (await admin.get(`/applications/${name}/credentials`).expect(200)).body;
      const { id } = items.find((credential: { id: string }) => credential.id !== second.id) as { id: string };
      for (const person of [old, young]) await person.get('/auth/me').expect(200);

      const another = await createApplication();
      await admin.delete(`/applications/${another.name}/credentials/${id}`).expect(404);
      await old.get('/auth/me').expect(200);
      const done = await admin.delete(`/applications/${name}/credentials/${id}`).expect(204);
      await expectRecords(system, done, { action: 'credential.delete', resource: { application: name, name: id } });
      const dead = await old.get('/auth/me').expect(401);
      await expectRecords(system, dead, { action: 'auth.me', decision: 'deny', rule: 'credential-withdrawn' });
      await young.get('/auth/me').expect(200);
      await requestToken(clientId, application.clientSecret).expect(401);
      await admin.delete(`/applications/${name}/credentials/${id}`).expect(404);
    });

    test('shows its last use, which is the last request for a token', async () => {
      const application = await createApplication();
      const admin = await system.as('admin');
      const lastUsedAt = async () =>
        (await admin.get(`/applications/${application.name}/credentials`).expect(200)).body.items[0].lastUsedAt;
      expect(await lastUsedAt()).toBeUndefined();
      await requestToken(application.clientId, (await createApplication()).clientSecret).expect(401);
      expect(await lastUsedAt()).toBeUndefined();
      const before = system.now().toISOString();
      await tokenOf(application);
      const first = (await lastUsedAt()) as string;
      expect(first >= before && first <= system.now().toISOString()).toBe(true);
      system.passTime(2_000);
      await tokenOf(application);
      expect(Date.parse((await lastUsedAt()) as string) - Date.parse(first)).toBeGreaterThanOrEqual(2_000);
    });
  });

  describe('a token issued before', () => {
    const ends: [string, string, (admin: Stranger, path: string) => Promise<unknown>][] = [
      ['is disabled', 'application-disabled', (admin, path) => admin.patch(path, { disabled: true }).expect(200)],
      ['is deleted', 'credential-withdrawn', (admin, path) => admin.delete(path).expect(204)],
      [
        'expires',
        'application-expired',
        async (admin, path) => {
          await admin.patch(path, { expiresAt: inMs(5_000) }).expect(200);
          system.passTime(5_000);
        },
      ],
      [
        'may come from elsewhere only',
        'application-network',
        (admin, path) => admin.patch(path, { allowedCidrs: ['2001:db8::/32'] }).expect(200),
      ],
    ];
    test.each(ends)('is refused on the next request once its application %s', async (_what, rule, end) => {
      const application = await createApplication();
      const token = await tokenOf(application);
      await token.get('/vaults').expect(200);
      await end(await system.as('admin'), `/applications/${application.name}`);
      const refused = await token.get('/vaults').expect(401);
      await expectRecords(system, refused, { action: 'vault.list', decision: 'deny', rule });
      await requestToken(application.clientId, application.clientSecret).expect(401);
    });

    test.each([
      ['192.0.2.0/24', INSIDE, OUTSIDE],
      ['192.0.2.0/24', `::ffff:${INSIDE}`, `::ffff:${OUTSIDE}`],
      ['2001:db8::/32', '2001:db8:1::1', '2001:db9::1'],
    ])('works from %s at %s, and not at %s', async (cidr, inside, outside) => {
      const application = await createApplication({ allowedCidrs: [cidr] });
      await requestToken(application.clientId, application.clientSecret, clientAt(system, outside)).expect(401);
      const token = await tokenOf(application, clientAt(system, inside));
      await token.get('/auth/me').expect(200);
      const stolen = await clientAt(system, outside).withToken(token.token).get('/auth/me').expect(401);
      await expectRecords(system, stolen, { action: 'auth.me', decision: 'deny', rule: 'application-network' });
    });
  });

  test('an application sees only what it is granted, and nothing that is for people', async () => {
    const application = await createApplication();
    const app = await tokenOf(application);
    const alice = await system.as('alice');
    for (const vault of ['granted', 'hidden']) {
      await alice.createVault(vault);
      await alice.putSecret(vault, 'ci/token', `of ${vault}`);
      await alice.putSecret(vault, 'other', `of ${vault}`);
    }
    const before = await app.get('/vaults/granted/secrets/ci/token').expect(404);
    await expectRecords(system, before, { action: 'secret.read', decision: 'deny', actor: expect.anything() as never });
    const grant = { secrets: ['list', 'read'], pathPrefix: 'ci' };
    await alice.put(`/vaults/granted/grants/application:${application.name}`, grant).expect(201);

    expect((await app.get('/vaults').expect(200)).body.items.map(({ name }: { name: string }) => name)).toEqual([
      'granted',
    ]);
    const read = await app.get('/vaults/granted/secrets/ci/token').expect(200);
    expect(read.body.value).toBe('of granted');
    const [record] = await recordsOf(system, read);
    expect(record!.actor).toEqual({
      id: application.clientId,
      type: 'application',
      name: application.name,
      credential: expect.any(String),
    });
    const names = (await app.get('/vaults/granted/secrets').expect(200)).body.items as { name: string }[];
    expect(names.map(({ name }) => name)).toEqual(['ci/token']);
    expect((await app.get('/auth/me').expect(200)).body.grants).toEqual([
      expect.objectContaining({ vault: 'granted', ...grant }),
    ]);

    await app.get('/vaults/granted/secrets/other').expect(404);
    await app.put('/vaults/granted/secrets/ci/token', { value: 'x' }).expect(403);
    for (const path of ['/vaults/hidden', '/vaults/hidden/secrets', '/vaults/hidden/secrets/ci/token']) {
      await app.get(path).expect(404);
    }
    const forPeople = [
      app.post('/vaults', { name: 'mine' }),
      app.get('/users'),
      app.get('/applications'),
      app.post(`/applications/${application.name}/credentials`),
      app.get('/audit/entries'),
      app.get('/auth/sessions'),
      app.post('/auth/password', { currentPassword: 'x', newPassword: 'y' }),
      app.post('/auth/totp', { currentPassword: 'x' }),
      app.post('/auth/logout'),
    ];
    for (const refused of forPeople) {
      const answer = await refused.expect(403);
      await expectRecords(system, answer, { decision: 'deny', reason: 'access_denied' });
    }
  });
});

function basic(id: string, secret: string): string {
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
}

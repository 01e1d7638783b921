import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { contentsOf } from '@cardea/testkit/contents';
import { inEachProfile } from '@cardea/testkit/use-system';
import { Person } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { PASSWORD } from '@cardea/testkit/system';
import { endpoints } from '../front-door/served-endpoints.ts';
import { recordsOf } from '../identity/identity.ts';
import { query } from '../secrets/ground.ts';
import { columns, expectedStatus, fillPath, ground, rowOf, table, verbs } from './access-table.ts';
import type { Principal, Sending } from './access-table.ts';

const isDenied = ({ expected }: { expected: number }) => expected >= 400;
const nameOf = ({ method, path }: Endpoint) => `${method} ${path}`;

/** A call that was made, and its result. */
interface Called {
  principal: Principal;
  expected: number;
  answer: RawAnswer;
}

inEachProfile((system, { admin }) => {
  const principals: Principal[] = [{ column: 'stranger', token: '', id: 'anonymous' }];

  beforeAll(async () => {
    await addUser('admin', 'admin');
    const owner = await addUser('owner', 'developer');
    await addUser('nothing', 'developer');
    await addUser('ceo', 'ceo');
    await owner.createVault(ground.vault);
    await owner.putSecret(ground.vault, ground.secret, 'theirs');
    await owner.post(`/vaults/${ground.vault}/keys`, { name: ground.key, algorithm: 'aes-256-gcm' }).expect(201);
    for (const verb of verbs) await addGrantedUser(verb);
    await addApplication('outsider');
    await addApplication('application');
    await grant('application:application', { secrets: ['read'] });
    await prepareGround();
  });

  async function addUser(column: Principal['column'], role: string, verb?: string): Promise<Person> {
    const username = verb?.replace(':', '-') ?? `the-${column}`;
    await admin.post('/users', { username, role, password: PASSWORD }).expect(201);
    const person = await Person.signIn(system.url, username, PASSWORD);
    principals.push({ column, token: person.token, password: PASSWORD, id: username, ...(verb ? { verb } : {}) });
    return person;
  }

  async function addGrantedUser(granted: string): Promise<void> {
    const [kind, verb] = granted.split(':') as [string, string];
    await addUser('granted', 'developer', granted);
    await grant(`user:${kind}-${verb}`, { [kind]: [verb] });
  }

  async function addApplication(column: 'application' | 'outsider'): Promise<void> {
    const { body } = await admin.post('/applications', { name: column }).expect(201);
    const { token } = await Person.ofApplication(system.url, column, body.clientSecret as string);
    principals.push({ column, token, id: column });
  }

  async function grant(principal: string, granted: object): Promise<void> {
    await admin.put(`/vaults/${ground.vault}/grants/${principal}`, granted).expect(201);
  }

  async function prepareGround(): Promise<void> {
    await admin.post('/users', { username: ground.user, role: 'developer', password: PASSWORD }).expect(201);
    await grant(`user:${ground.user}`, { secrets: ['read'] });
    const victim = await Person.signIn(system.url, ground.user, PASSWORD);
    ground.sessionId = (await victim.get('/auth/sessions').expect(200)).body.items[0].id as string;
    const made = await admin.post('/applications', { name: ground.application }).expect(201);
    ground.clientSecret = made.body.clientSecret as string;
    const credentials = await admin.get(`/applications/${ground.application}/credentials`).expect(200);
    ground.credentialId = credentials.body.items[0].id as string;
  }

  describe('the access table', () => {
    test('has a row for every endpoint and no other rows', () => {
      for (const endpoint of endpoints) rowOf(endpoint);
      expect(Object.keys(table).sort()).toEqual(endpoints.map(nameOf).sort());
    });

    test('has a column for every kind of caller', () => {
      for (const [name, { statuses }] of Object.entries(table)) {
        expect([name, statuses.trim().split(/\s+/).length]).toEqual([name, columns.length]);
      }
      expect([...new Set(principals.map(({ column }) => column))].sort()).toEqual([...columns].sort());
      expect(principals).toHaveLength(columns.length + verbs.length - 1);
    });

    test('has the endpoints of the served document', async () => {
      const { body } = await system.stranger.get('/openapi.json').expect(200);
      const served = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      );
      const rows = Object.keys(table).map((name) => name.replace(/\{[+*]/g, '{'));
      expect(served.sort()).toEqual(rows.sort());
    });

    test('lets only admins make users, applications and credentials', () => {
      const makers = [
        'POST /api/v1/users',
        'POST /api/v1/applications',
        'POST /api/v1/applications/{name}/credentials',
      ];
      for (const name of makers) {
        const may = principals.filter((principal) => expectedStatus(table[name]!, principal) < 400);
        expect(may.map(({ column }) => column)).toEqual(['admin']);
      }
    });
  });

  describe('every caller gets the status of the table, a denied call changes nothing, and each call is recorded:', () => {
    test.each(endpoints.map((endpoint) => [nameOf(endpoint), endpoint] as const))('%s', async (_name, endpoint) => {
      const row = rowOf(endpoint);
      const cells = principals.map((principal) => ({ principal, expected: expectedStatus(row, principal) }));

      const before = await contents();
      const denied = await Promise.all(cells.filter(isDenied).map((cell) => call(endpoint, cell, { body: row.body })));
      expect(await contents()).toEqual(before);

      const allowed: Called[] = [];
      for (const cell of cells.filter((one) => !isDenied(one))) {
        const fresh = (await row.fresh?.(cell.principal, admin)) ?? {};
        allowed.push(await call(endpoint, cell, { body: row.body, ...fresh }));
      }

      const summary = (called: Called, status: number) =>
        `${status} ${called.principal.verb ?? called.principal.column}`;
      const all = [...denied, ...allowed];
      expect(all.map((called) => summary(called, called.answer.status))).toEqual(
        all.map((called) => summary(called, called.expected)),
      );
      for (const { answer } of denied) expect(answer.body).not.toContain('theirs');
      // Health and the document disclose nothing.
      const isTold = !endpoint.action.match(/^(health|openapi)/);
      await expectRecords(endpoint, { deny: denied, allow: isTold ? allowed : [] });
    });
  });

  async function call(
    endpoint: Endpoint,
    cell: Omit<Called, 'answer'>,
    {
      params = {},
      body,
      token = cell.principal.token,
      headers: more = {},
    }: Sending | { [K in keyof Sending]: Sending[K] | undefined },
  ): Promise<Called> {
    const { method, path } = endpoint;
    const values = { ...parametersOf(path), ...params };
    const { query } = rowOf(endpoint);
    const filled = fillPath(path, values);
    const target = query === undefined ? filled : `${filled}?${query}`;
    const headers = {
      Authorization: token === '' ? undefined : `Bearer ${token}`,
      'Content-Type': body === undefined ? undefined : 'application/json',
      ...more,
    };
    const text = body === undefined ? '' : JSON.stringify(body);
    return { ...cell, answer: await sendRequest(system.url, { method, target, headers, body: text }) };
  }

  // By the id of the request: one record of each call, with its actor and rule, before the records of each secret.
  async function expectRecords(endpoint: Endpoint, calls: Record<'deny' | 'allow', Called[]>): Promise<void> {
    const { action, auth } = endpoint;
    const { each } = rowOf(endpoint);
    const decided = (['deny', 'allow'] as const).flatMap((decision) =>
      calls[decision].map((it) => ({ decision, ...it })),
    );
    const all = await recordsOf(system, ...decided.map(({ answer }) => answer));
    for (const { decision, principal, answer } of decided) {
      const who = `${principal.verb ?? principal.column}, ${answer.headers['x-request-id']}`;
      const id = answer.headers['x-request-id'];
      const ofIt = all.filter((event) => event.decision === decision && event.requestId === id);
      const records = ofIt.filter((event, i) => i === 0 || event.action !== each);
      const name = principal.column === 'stranger' ? undefined : principal.id;
      expect([who, ...records]).toEqual([
        who,
        expect.objectContaining({ action, rule: expect.stringMatching(/./) as unknown as string }),
      ]);
      if (auth === 'bearer') expect([who, records[0]!.actor.name]).toEqual([who, name]);
    }
  }

  /** Everything in the database except what waits for the audit log, and the count of failures, which a denial adds to. */
  async function contents(): Promise<Record<string, string[]>> {
    const schema = {
      mini: `select name from sqlite_schema where type = 'table'`,
      full: `select tablename as name from pg_tables where schemaname = 'public'`,
    }[system.profile];
    const all = await query<{ name: string }>(system, schema);
    const tables = all.filter(({ name }) => !['outbox', 'sign_in_failure'].includes(name));
    const found = await contentsOf(
      system,
      tables.map(({ name }) => name),
    );
    expect(Object.keys(found)).toEqual(expect.arrayContaining(['app_user', 'vault_grant', 'secret_version']));
    return found;
  }
});

function parametersOf(path: string): Record<string, string> {
  const { vault, secret, key, user, application, credentialId, sessionId } = ground;
  const ofApplication = path.startsWith('/api/v1/applications');
  return {
    vault,
    username: user,
    principal: `user:${user}`,
    name: ofApplication ? application : path.includes('/keys/') ? key : secret,
    id: ofApplication ? credentialId : sessionId,
    version: '1',
  };
}

import { CardeaError, createClient } from '@cardea/client';
import { useSystem } from '@cardea/testkit/use-system';
import { afterEach, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { faultyFetch } from './faults.ts';

const [system, { admin, alice }] = useSystem('mini');
// It takes a moment until api-service knows that the audit log answers again.
afterEach(() => expectEventually(async () => void (await alice.get('/auth/me').expect(200))));

/** A client as alice, and what it sends. */
function ofAlice(repeatsMax = 2) {
  const { fetch, sent, loseAnswers, replaceAnswer } = faultyFetch();
  const credentials = { token: alice.token };
  const client = createClient({ url: system.url, fetch, credentials, repeats: { repeatsMax } });
  return { client, sent, loseAnswers, replaceAnswer };
}

const recorded = async (action: string, vault: string) =>
  (await admin.auditEntries({ action, vault })).map(({ event }) => event.decision);

test('a write whose answer was lost is repeated and makes one version', async () => {
  await alice.createVault('lost');
  const { client, sent, loseAnswers } = ofAlice();
  loseAnswers(/^PUT/, 1);
  expect(await client.secrets.put('lost/a', 'v')).toMatchObject({ version: 1, changed: false });
  expect(sent).toHaveLength(2);
  expect(await recorded('secret.write', 'lost')).toEqual(['allow', 'allow']);
});

test('a write with a condition is not repeated, and the error says that it may be done', async () => {
  await alice.createVault('guarded');
  const { client, sent, loseAnswers } = ofAlice();
  loseAnswers(/^PUT/, 1);
  const error = await client.secrets.put('guarded/a', 'v', { ifNew: true }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CardeaError);
  expect(error).toMatchObject({ code: 'unavailable', mayBeDone: true });
  expect(sent).toHaveLength(1);
  expect(await alice.readSecret('guarded', 'a')).toBe('v');
});

const failed = () =>
  new Response('{"code":"internal","detail":"something went wrong"}', {
    status: 500,
    headers: { 'Content-Type': 'application/problem+json' },
  });

test('a change that ended with an error of the server may be done and is not repeated, and a read changed nothing', async () => {
  await alice.createVault('failed');
  const { client, sent, replaceAnswer } = ofAlice();
  replaceAnswer(/^PUT/, failed());
  await expect(client.secrets.put('failed/a', 'v')).rejects.toMatchObject({ code: 'internal', mayBeDone: true });
  replaceAnswer(/^GET/, failed());
  await expect(client.secrets.get('failed/a')).rejects.toMatchObject({ code: 'internal', mayBeDone: false });
  expect(sent).toHaveLength(2);
  expect(await recorded('secret.write', 'failed')).toEqual(['allow']);
});

const page = () => new Response('<html>Sign in to this network</html>', { headers: { 'Content-Type': 'text/html' } });

test('a success that is not of Cardea is none: a read is repeated, and a change may be done', async () => {
  await alice.createVault('portal');
  const { client, replaceAnswer } = ofAlice();
  replaceAnswer(/:generate$/, page());
  await expect(client.secrets.generate('portal/a')).rejects.toMatchObject({ code: 'unavailable', mayBeDone: true });
  replaceAnswer(/^GET/, page());
  expect(await client.secrets.get('portal/a')).toMatchObject({ version: 1 });
  replaceAnswer(/^GET/, page());
  await expect(client.audit.export()).rejects.toMatchObject({ code: 'access_denied' });
});

test('what makes something new each time is not repeated', async () => {
  await alice.createVault('made');
  const { client, sent, loseAnswers } = ofAlice();
  loseAnswers(/:generate$/, 1);
  await expect(client.secrets.generate('made/a')).rejects.toMatchObject({ code: 'unavailable', mayBeDone: true });
  loseAnswers(/vaults$/, 1);
  await expect(client.vaults.create({ name: 'made-2' })).rejects.toMatchObject({ mayBeDone: true });
  expect(sent).toHaveLength(2);
  expect(await recorded('vault.create', 'made-2')).toEqual(['allow']);
});

test('a deletion that finds nothing the second time has succeeded, and one that finds nothing at first has not', async () => {
  await alice.createVault('gone');
  await alice.putSecret('gone', 'a', 'v');
  const { client, loseAnswers } = ofAlice();
  loseAnswers(/^DELETE/, 1);
  expect(await client.secrets.delete('gone/a')).toEqual({ dependants: 0 });
  await expect(client.secrets.delete('gone/a')).rejects.toMatchObject({ code: 'not_found', mayBeDone: false });
});

test('a read waits as long as a 503 asks for, and gives up after its repetitions', async () => {
  await alice.createVault('away');
  await alice.putSecret('away', 'a', 'v');
  await system.stopService('audit');
  try {
    const { client, sent } = ofAlice(1);
    const error = await client.secrets.get('away/a').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'unavailable', status: 503, mayBeDone: false });
    expect((error as CardeaError).retryAfterSeconds).toBeGreaterThan(0);
    expect((error as CardeaError).requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(sent).toHaveLength(2);
    const impatient = createClient({
      url: system.url,
      credentials: { token: alice.token },
      repeats: { waitMsMax: 0 },
    });
    await expect(impatient.secrets.get('away/a')).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    await system.startService('audit');
  }
});

test('a write whose record the log could not take is repeated until it answers again', async () => {
  await alice.createVault('later');
  const { client, sent } = ofAlice(60);
  await system.stopService('audit');
  const written = client.secrets.put('later/a', 'v');
  await expectEventually(async () => expect(sent.length).toBeGreaterThan(1));
  await system.startService('audit');
  expect(await written).toMatchObject({ version: 1 });
});

test('a server that does not answer in time, or at all, is unavailable', async () => {
  const { client } = ofAlice(0);
  await expect(client.vaults.get('late', { timeoutMs: 0 })).rejects.toThrow('no answer within 0 ms');
  const nobody = createClient({ url: 'http://127.0.0.1:9', repeats: { repeatsMax: 0 } });
  await expect(nobody.system.health()).rejects.toMatchObject({ code: 'unavailable', status: undefined });
});

test('an aborted call throws the reason, also while it waits to be repeated', async () => {
  const { client, sent } = ofAlice(5);
  await expect(client.auth.me({ signal: AbortSignal.abort(new Error('never mind')) })).rejects.toThrow('never mind');
  expect(sent).toEqual([]);
  await system.stopService('audit');
  try {
    const controller = new AbortController();
    const waiting = client.auth.me({ signal: controller.signal });
    await expectEventually(async () => expect(sent.length).toBeGreaterThan(0));
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  } finally {
    await system.startService('audit');
  }
});

test('refusals say what is wrong, and names that a URL would change are not sent', async () => {
  await alice.createVault('refused');
  const { client, sent } = ofAlice();
  const wrong = client.secrets.put('refused/a', 'v', { ttlSeconds: -1 });
  await expect(wrong).rejects.toMatchObject({
    code: 'invalid_request',
    status: 400,
    errors: [{ path: 'body.ttlSeconds' }],
  });
  await expect(client.secrets.put('refused/a', 'v', { ifMatch: 7 })).rejects.toMatchObject({
    code: 'precondition_failed',
  });
  expect(sent).toHaveLength(2);
  for (const address of ['refused/../../users', 'refused/a%2Fb', 'refused/a//b', 'refused', 'refused/a:purge', '/a']) {
    await expect((async () => client.secrets.delete(address))()).rejects.toMatchObject({ code: 'invalid_request' });
  }
  await expect((async () => client.vaults.get('..'))()).rejects.toMatchObject({ code: 'invalid_request' });
  expect(sent).toHaveLength(2);
});

test('a list goes on from page to page, and no further than it is asked for', async () => {
  await alice.createVault('pages');
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const name of names) await alice.putSecret('pages', name, 'v');
  const { client, sent } = ofAlice();
  const listed = await client.secrets.list('pages', { limit: 2 }).all();
  expect(listed.map(({ name }) => name)).toEqual(names);
  expect(sent.splice(0)).toHaveLength(3);
  for await (const { name } of client.secrets.list('pages', { limit: 2 })) if (name === 'b') break;
  expect(sent.splice(0)).toHaveLength(1);
});

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { readApiConfig } from '@cardea/api-service/config';
import type { TrustedProxies } from '@cardea/api-service/client-address';
import { inEachProfile } from '@cardea/testkit/use-system';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { freePorts, killAll, start } from '../install/installation.ts';

const PROXY = '127.0.0.2';
const NEIGHBOUR = '127.0.0.3';
const CLAIMED = '203.0.113.7';
const SIGN_INS = 4;
const networks = { CARDEA_TRUSTED_PROXIES: '1', CARDEA_TRUSTED_PROXY_CIDRS: PROXY };

interface Answer {
  status: number | undefined;
  requestId: string;
}

/** Signs in with a wrong password over a connection from an address, with this X-Forwarded-For. */
async function signIn(url: string, from: string, forwarded: string): Promise<Answer> {
  const sent = request(new URL('/api/v1/auth/login', url), {
    method: 'POST',
    localAddress: from,
    agent: false,
    headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': forwarded },
  }).end('{"username":"nobody","password":"a wrong password"}');
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  await json(response);
  return { status: response.statusCode, requestId: String(response.headers['x-request-id']) };
}

inEachProfile(
  (system, { admin }) => {
    async function recordedIp({ requestId }: Answer): Promise<string | undefined> {
      const entries = await admin.auditEntries({ limit: '50' });
      return entries.find(({ event }) => event.requestId === requestId)!.event.source?.ip;
    }

    test('the trusted proxy says where a request comes from', async () => {
      const answer = await signIn(system.url, PROXY, CLAIMED);
      expect([answer.status, await recordedIp(answer)]).toEqual([401, CLAIMED]);
    });

    test('nobody else does: a neighbour of api-service has its own address in records and limits', async () => {
      const answers: Answer[] = [];
      for (let i = 0; i <= SIGN_INS; i += 1) answers.push(await signIn(system.url, NEIGHBOUR, `198.51.100.${i}`));
      expect(answers.map(({ status }) => status)).toEqual([...Array.from({ length: SIGN_INS }, () => 401), 429]);
      for (const answer of [answers[0]!, answers.at(-1)!]) expect(await recordedIp(answer)).toBe(NEIGHBOUR);
      // The address that it has claimed is free for its owner.
      expect((await signIn(system.url, PROXY, '198.51.100.0')).status).toBe(401);
    });
  },
  { ...networks, CARDEA_SIGN_INS_PER_MINUTE: String(SIGN_INS) },
);

describe('the log', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-proxies-'));
  });
  afterEach(() => killAll());
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each([
    ['without trusted proxies', {}, 'set CARDEA_TRUSTED_PROXIES'],
    [
      'with others',
      networks,
      `Trusted are ${PROXY}. If that is a proxy of yours, add it to CARDEA_TRUSTED_PROXY_CIDRS`,
    ],
  ])('says once for each network that an X-Forwarded-For is ignored, %s', async (_how, env, advice) => {
    const cardea = start({ dataDir: folder, port: await freePorts(), env });
    const url = await cardea.ready();
    for (const from of [NEIGHBOUR, NEIGHBOUR, '127.0.0.4']) await signIn(url, from, CLAIMED);
    const said = () =>
      cardea
        .output()
        .split('\n')
        .filter((line) => line.includes('X-Forwarded-For'));
    await expectEventually(async () => expect(said()).toHaveLength(2));
    expect(said()[0]).toContain(`the X-Forwarded-For of ${NEIGHBOUR} is ignored`);
    expect(said()[0]).toContain(advice);
  });
});

describe('the networks of the proxies', () => {
  test('are the loopback interface, or a list', () => {
    expect(read({ CARDEA_TRUSTED_PROXIES: '1' })).toEqual({ count: 1, cidrs: ['127.0.0.0/8', '::1'] });
    const list = { CARDEA_TRUSTED_PROXIES: '2', CARDEA_TRUSTED_PROXY_CIDRS: '10.213.77.12, 2001:db8::/32' };
    expect(read(list)).toEqual({ count: 2, cidrs: ['10.213.77.12', '2001:db8::/32'] });
  });

  test.each(['nginx', '10.0.0.1/8', '10.0.0.1,', '0.0.0.0/0', '128.0.0.0/1,0.0.0.0/1', '::/0', '10.0.0.1;10.0.0.2'])(
    'are refused if they are wrong or hold everybody: %s',
    (list) => {
      expect(() => read({ CARDEA_TRUSTED_PROXIES: '1', CARDEA_TRUSTED_PROXY_CIDRS: list })).toThrow(
        /CARDEA_TRUSTED_PROXY_CIDRS must be addresses or networks such as/,
      );
    },
  );

  test('are refused without a number of proxies, because they would have no effect', () => {
    expect(() => read({ CARDEA_TRUSTED_PROXY_CIDRS: PROXY })).toThrow(
      /CARDEA_TRUSTED_PROXY_CIDRS is set, but CARDEA_TRUSTED_PROXIES, the number of proxies, is not/,
    );
  });
});

function read(env: NodeJS.ProcessEnv): TrustedProxies {
  const needed = {
    CARDEA_TLS_DIR: '/tls',
    CARDEA_OPS_PORT: '0',
    CARDEA_KEK_URL: 'https://kek:8401',
    CARDEA_AUDIT_URL: 'https://audit:8402',
  };
  return readApiConfig({ ...needed, ...env }).trustedProxies;
}

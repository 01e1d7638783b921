import { createMetrics } from '@cardea/process/metrics';
import { expect, test } from '@jest/globals';
import { openOpsPort } from './ops-port.ts';

test('a starting service is alive and not ready, and after its start its checks decide', async () => {
  const port = await openOpsPort({ opsHost: '127.0.0.1', opsPort: 0 });
  const statuses = () =>
    Promise.all(['healthz', 'readyz', 'metrics'].map(async (path) => (await fetch(`${port.url}/${path}`)).status));
  let isThere = true;
  const database = async () => {
    if (!isThere) throw new Error('away');
  };

  expect(await statuses()).toEqual([200, 503, 503]);
  port.show({ registry: createMetrics('test').registry, checks: { database } });
  expect(await statuses()).toEqual([200, 200, 200]);
  isThere = false;
  expect(await (await fetch(`${port.url}/readyz`)).json()).toEqual({
    status: 'not_ready',
    failed: ['database'],
    degraded: [],
  });
  await port.close();
  await expect(fetch(`${port.url}/healthz`)).rejects.toThrow();
});

test('a port that is in use makes the start fail', async () => {
  const port = await openOpsPort({ opsHost: '127.0.0.1', opsPort: 0 });
  const opsPort = Number(new URL(port.url).port);
  const taken = { name: 'StartError', message: expect.stringContaining('set CARDEA_OPS_PORT') };
  await expect(openOpsPort({ opsHost: '127.0.0.1', opsPort })).rejects.toMatchObject(taken);
  await port.close();
});

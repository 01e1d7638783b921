import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { readApiConfig } from '@cardea/api-service/config';
import { startApiService } from '@cardea/api-service/start';
import { createTestSystem } from '@cardea/testkit/system';
import { expect, test } from '@jest/globals';

// In one profile: what is released is the SQLite file, which has one owner.
test('an api-service that cannot start releases everything it has opened, so that another one can start', async () => {
  await using system = await createTestSystem('mini');
  const port = Number(new URL(system.url).port);
  await system.stopService('api');
  const blocker = await listenOn(port);
  const opsPort = await freePort();

  const config = readApiConfig({ ...system.environment('api'), CARDEA_OPS_PORT: `${opsPort}` });
  const file = config.database as string;
  expect(config.port).toBe(port);
  await expect(startApiService(config)).rejects.toMatchObject({
    name: 'StartError',
    message: `Port ${port} of 127.0.0.1 is in use: stop what uses it or set CARDEA_PORT to another.`,
  });
  expect(existsSync(`${file}-wal`)).toBe(false);
  expect(await isFree(file)).toBe(true);
  await close(await listenOn(opsPort));

  await close(blocker);
  await system.startService('api');
  expect(await isFree(file)).toBe(false);
  const admin = await system.as('admin');
  await admin.get('/auth/me').expect(200);
});

test('an api-service whose ops port is in use has opened nothing', async () => {
  await using system = await createTestSystem('mini');
  await system.stopService('api');
  const blocker = await listenOn(0);
  const dataDir = join(system.dataDir, 'another');
  const { port } = blocker.address() as AddressInfo;
  const config = readApiConfig({
    ...system.environment('api'),
    CARDEA_OPS_PORT: `${port}`,
    CARDEA_DATA_DIR: dataDir,
  });
  await expect(startApiService(config)).rejects.toThrow(`Port ${port} of 127.0.0.1 is in use`);
  expect(existsSync(dataDir)).toBe(false);
  await close(blocker);
});

async function listenOn(port: number): Promise<Server> {
  const server = createServer();
  server.listen({ host: '127.0.0.1', port, exclusive: true });
  await once(server, 'listening');
  return server;
}

async function freePort(): Promise<number> {
  const server = await listenOn(0);
  const { port } = server.address() as AddressInfo;
  await close(server);
  return port;
}

async function close(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

/** True if another process can open the database. */
async function isFree(database: string): Promise<boolean> {
  const program = `import { ownSqliteFile } from '${import.meta.resolve('@cardea/storage/sqlite-ownership')}';
    await ownSqliteFile('${database}', 0).catch(() => process.exit(1));`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const [code] = (await once(spawn(process.execPath, flags, { stdio: 'ignore' }), 'exit')) as [number];
  return code === 0;
}

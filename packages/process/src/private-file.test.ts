import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { checkPrivateFile, readPrivateFile, readPrivateFileSync } from './private-file.ts';
import { isPrivate } from './private-mode.ts';

let folder: string;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-private-'));
  path = join(folder, 'password');
  await writeFile(path, 'hunter2\n');
});
afterAll(() => rm(folder, { recursive: true }));

const readings = {
  readPrivateFile: () => readPrivateFile({ path }),
  readPrivateFileSync: async () => readPrivateFileSync({ path }),
  checkPrivateFile: async () => checkPrivateFile({ path }),
};

describe.each(Object.entries(readings))('%s', (_name, reading) => {
  test.each([0o640, 0o620, 0o604, 0o602, 0o601, 0o777])('refuses a file of mode %o', async (mode) => {
    await chmod(path, mode);
    await expect(reading()).rejects.toThrow(
      `${path} can be read by other users of this machine: run chmod 400 ${path}.`,
    );
  });

  test.each([0o400, 0o600, 0o700])('takes a file of mode %o', async (mode) => {
    await chmod(path, mode);
    expect((await reading()) ?? 'hunter2').toBe('hunter2');
  });
});

test('a file that is missing is named', () => {
  expect(() => readPrivateFileSync({ path: join(folder, 'none') })).toThrow(
    `${folder}/none cannot be read, because it is not there (ENOENT): correct the path.`,
  );
});

describe('a file that root gives to the group of the process', () => {
  const file = { mode: 0o100440, uid: 0, gid: 10_001 };
  const self = { uid: 10_001, groups: [10_001] };

  test('is private', () => {
    expect([isPrivate(file, self), isPrivate({ ...file, mode: 0o100640 }, self)]).toEqual([true, true]);
  });

  test.each([
    ['the group may write', { ...file, mode: 0o100460 }, self],
    ['others may read', { ...file, mode: 0o100444 }, self],
    ['another user owns it', { ...file, uid: 10_002 }, self],
    ['the process itself owns it', { ...file, uid: 10_001 }, self],
    ['it is of another group', { ...file, gid: 10_002 }, self],
    ['the process is root, which needs no group', { ...file, gid: 0 }, { uid: 0, groups: [0] }],
  ])('is not private if %s', (_reason, given, user) => {
    expect(isPrivate(given, user)).toBe(false);
  });
});

import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { unseal } from '@cardea/contracts/seal-api';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readKekConfig } from '../src/config.ts';
import { refuseMissingPassphrase } from '../src/first-keyring.ts';
import { createFileStore } from '../src/keyring/file-store.ts';
import { startTestKek } from './test-kek.ts';

let tlsDir: string;
let dataDir: string;
let kekDir: string;

beforeAll(async () => {
  tlsDir = await mkdtemp(join(tmpdir(), 'cardea-tls-'));
  await ensureCertificates(tlsDir, new Date());
});

afterAll(() => rm(tlsDir, { recursive: true }));

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  kekDir = join(dataDir, 'kek');
});

afterEach(() => rm(dataDir, { recursive: true }));

describe('the first start with a file as the seal', () => {
  test('makes a seal key and a keyring that only their owner reads, and says what that means', async () => {
    const lines = await startAndStop();
    expect((await readdir(kekDir)).sort()).toEqual(['generation.json', 'keyring.json', 'seal-key']);
    expect(await modeOf(kekDir)).toBe('700');
    expect(await modeOf(join(kekDir, 'seal-key'))).toBe('400');
    expect(await modeOf(join(kekDir, 'keyring.json'))).toBe('600');
    expect(Buffer.from(await readFile(join(kekDir, 'seal-key'), 'utf8'), 'base64')).toHaveLength(32);
    const warnings = lines.filter((line) => line.level === 'warn').map((line) => line.message);
    expect(warnings.join('\n')).toMatch(/Back it up now, apart from the data[\s\S]*passphrase/);
  });

  test('happens once: the second start changes nothing and warns of nothing', async () => {
    await startAndStop();
    const before = await contents();
    const lines = await startAndStop();
    expect(await contents()).toEqual(before);
    expect(lines.filter((line) => line.level === 'warn')).toEqual([]);
  });

  test('also makes a keyring beside an audit log that is still empty', async () => {
    await mkdir(join(dataDir, 'audit'));
    await writeFile(
      join(dataDir, 'audit', 'last-signed.json'),
      '{\n  "origin": "cardea.local/audit",\n  "size": 0\n}\n',
    );
    await startAndStop();
    expect((await readdir(kekDir)).sort()).toEqual(['generation.json', 'keyring.json', 'seal-key']);
  });

  test('that was killed half way starts again', async () => {
    await mkdir(`${kekDir}.new`);
    await writeFile(join(`${kekDir}.new`, 'seal-key'), 'half', { mode: 0o400 });
    await startAndStop();
    expect(await readdir(dataDir)).toEqual(['kek']);
    await startAndStop();
  });
});

describe('a write of the keyring', () => {
  test('killed before its rename leaves the old keyring, and the next start removes the leftover', async () => {
    await startAndStop();
    const before = await contents();
    await writeFile(join(kekDir, 'keyring.json.tmp'), '{"format":1,"keks":[');
    await startAndStop();
    expect(await contents()).toEqual(before);
  });

  test('replaces the whole file, even beside the leftover of a killed write', async () => {
    await startAndStop();
    const store = createFileStore(kekDir);
    const { document } = await store.read();
    const next = { ...document, generation: 2, mac: 'AAAA' };
    await writeFile(join(kekDir, 'keyring.json.tmp'), 'x'.repeat(10_000), { mode: 0o644 });
    await store.replace(1, next);
    expect(await store.read()).toEqual({ document: next, isRecorded: false });
    expect(await modeOf(join(kekDir, 'keyring.json'))).toBe('600');
    expect((await readdir(kekDir)).sort()).toEqual(['generation.json', 'keyring.json', 'seal-key']);
  });
});

describe('with one sentence that says what to do, a start refuses', () => {
  test('a seal key that others can read', async () => {
    await startAndStop();
    for (const mode of [0o440, 0o404, 0o620]) {
      await chmod(join(kekDir, 'seal-key'), mode);
      await expectRefusal(/chmod 400 .*seal-key\.$/);
    }
  });

  test('a seal key that is missing, damaged, or of another installation', async () => {
    await startAndStop();
    const sealKey = join(kekDir, 'seal-key');
    const own = await readFile(sealKey, 'utf8');
    await replace(sealKey, own.slice(4));
    await expectRefusal(/seal-key is damaged: put it back from a backup\.$/);
    await replace(sealKey, `${Buffer.alloc(32, 7).toString('base64')}\n`);
    await expectRefusal(/does not open the keyring .* from the same backup\.$/);
    await rm(sealKey);
    await expectRefusal(/seal-key is missing, .* put it back from a backup\.$/);
    await replace(sealKey, own);
    await startAndStop();
  });

  test('a missing keyring, and does not make a new one', async () => {
    await startAndStop();
    await rm(join(kekDir, 'keyring.json'));
    await expectRefusal(/keyring\.json is missing, .* put it back from a backup/);
    await rm(join(kekDir, 'seal-key'), { force: true });
    await expectRefusal(/keyring\.json is missing/);
    expect(await readdir(kekDir)).toEqual(['generation.json']);
  });

  test('a missing keyring folder beside data that it encrypted', async () => {
    const beside: [string, string][] = [
      ['api/cardea.db', ''],
      ['audit/last-signed.json', '{\n  "origin": "cardea.local/audit",\n  "size": 10\n}\n'],
      ['audit/last-signed.json', 'damaged'],
    ];
    for (const [file, content] of beside) {
      await mkdir(join(dataDir, dirname(file)));
      await writeFile(join(dataDir, file), content);
      await expectRefusal(/kek is missing, .*: put it back from a backup, or start again with an empty data folder\.$/);
      expect(await readdir(dataDir)).toEqual([dirname(file)]);
      await rm(join(dataDir, dirname(file)), { recursive: true });
    }
  });

  test('a keyring that is cut or reformatted, or has a duplicate or unknown key', async () => {
    await startAndStop();
    const path = join(kekDir, 'keyring.json');
    const own = await readFile(path, 'utf8');
    const damaged = [
      '',
      own.slice(0, -1),
      own.slice(0, own.length / 2),
      JSON.stringify(JSON.parse(own), null, 2),
      own.replace('"format":1', '"format":1,"format":1'),
      own.replace('"format":1', '"extra":1,"format":1'),
      own.replace('"format":1', '"format":2'),
      own.replace('"enabled"', '"decrypt-only"'),
      own.replace('"generation":1', '"generation":0'),
    ];
    for (const text of damaged) {
      await replace(path, text);
      await expectRefusal(/keyring\.json is damaged: put it back from a backup\.$/);
    }
  });

  test('a keyring of another installation', async () => {
    await startAndStop();
    await cp(kekDir, join(dataDir, 'first'), { recursive: true });
    await rm(kekDir, { recursive: true });
    await startAndStop();
    await cp(join(dataDir, 'first', 'keyring.json'), join(kekDir, 'keyring.json'));
    await expectRefusal(/does not open the keyring/);
  });

  test('a seal that differs from the seal of the keyring', async () => {
    await startAndStop();
    await expectRefusal(/CARDEA_SEAL says passphrase, and the keyring has no such seal: unset it\./, {
      seal: 'passphrase',
      passphraseFile: await passphraseFile('correct horse battery staple'),
    });
  });

  test('a first start without a passphrase or with a short one, and leaves nothing behind', async () => {
    await expectRefusal(/CARDEA_SEAL_PASSPHRASE_FILE/, { seal: 'passphrase' });
    const short = await passphraseFile('eleven char');
    await expectRefusal(/12 to 1024 characters/, { seal: 'passphrase', passphraseFile: short });
    await expectRefusal(/nowhere that .* names cannot be read/, {
      seal: 'passphrase',
      passphraseFile: join(dataDir, 'nowhere'),
    });
    expect(await readdir(dataDir)).not.toContain('kek');
  });

  test('a passphrase file that other users can read', async () => {
    const path = await passphraseFile('correct horse battery staple');
    const withPassphrase = { seal: 'passphrase', passphraseFile: path } as const;
    for (const mode of [0o440, 0o404, 0o620]) {
      await chmod(path, mode);
      await expectRefusal(
        /passphrase .* can be read by other users of this machine: run chmod 400 .*passphrase\.$/,
        withPassphrase,
      );
    }
    await chmod(path, 0o400);
    await startAndStop(withPassphrase);
  });

  test('a file of a secret that is missing or shared, with the variable, before anything is made', async () => {
    const shared = await passphraseFile('correct horse battery staple');
    await chmod(shared, 0o440);
    const env = { CARDEA_TLS_DIR: dataDir, CARDEA_OPS_PORT: '0', CARDEA_KEK_PORT: '0' };
    const files = { CARDEA_SEAL_PASSPHRASE_FILE: shared, CARDEA_PKCS11_PIN_FILE: join(dataDir, 'nowhere') };
    expect(() => readKekConfig({ ...env, ...files })).toThrow(
      `CARDEA_SEAL_PASSPHRASE_FILE: the file ${shared} can be read by other users of this machine: run chmod 400 ${shared}; ` +
        `CARDEA_PKCS11_PIN_FILE: the file ${dataDir}/nowhere cannot be read, because it is not there (ENOENT): correct the path; ` +
        'CARDEA_PKCS11_MODULE is not set, and CARDEA_PKCS11_PIN_FILE is nothing without it.',
    );
  });

  test('a missing passphrase, before anything is made', async () => {
    const later = { dataDir, seal: 'passphrase' } as const;
    expect(() => refuseMissingPassphrase(later)).toThrow(/The first start .* CARDEA_SEAL_PASSPHRASE_FILE/);
    await startAndStop({ seal: 'passphrase', passphraseFile: await passphraseFile('correct horse battery staple') });
    refuseMissingPassphrase(later);
  });

  test('a wrong passphrase', async () => {
    const right = await passphraseFile('correct horse battery staple');
    await startAndStop({ seal: 'passphrase', passphraseFile: right });
    const wrong = await passphraseFile('correct horse battery stable');
    await expectRefusal(/does not open the keyring .* correct the passphrase/, {
      seal: 'passphrase',
      passphraseFile: wrong,
    });
  });

  test('wrong settings, and names all of them at once', () => {
    const env = { CARDEA_SEAL: 'wax', CARDEA_KEK_PORT: '70000', CARDEA_AUDIT_URL: 'http://localhost:1' };
    for (const name of [...Object.keys(env), 'CARDEA_TLS_DIR', 'CARDEA_OPS_PORT']) {
      expect(() => readKekConfig(env)).toThrow(name);
    }
  });
});

test('the passphrase is the content of its file without the newline at its end, LF or CRLF', async () => {
  const seal = 'passphrase';
  await startAndStop({ seal, passphraseFile: await passphraseFile('correct horse battery staple\r\n') });
  expect((await readdir(kekDir)).sort()).toEqual(['generation.json', 'keyring.json']);
  for (const text of ['correct horse battery staple', 'correct horse battery staple\n']) {
    await startAndStop({ seal, passphraseFile: await passphraseFile(text) });
  }
});

test('a file seal opens at a restart, never by a passphrase', async () => {
  const kek = await startTestKek({ dataDir, tlsDir });
  await kek.as('operator').post('/v1/seal', '{}', 60_000);
  const asked = kek.as('operator').call(unseal, { body: { passphrase: 'correct horse battery staple' } });
  await expect(asked).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('restart') });
  await kek.stop();
});

type Overrides = Partial<Parameters<typeof startTestKek>[0]>;

async function startAndStop(overrides: Overrides = {}) {
  const kek = await startTestKek({ dataDir, tlsDir, ...overrides });
  await kek.stop();
  return kek.lines;
}

async function expectRefusal(sentence: RegExp, overrides: Overrides = {}): Promise<void> {
  await expect(startAndStop(overrides)).rejects.toMatchObject({
    name: 'StartError',
    message: expect.stringMatching(sentence),
  });
}

async function contents() {
  const names = (await readdir(kekDir)).sort();
  return Promise.all(names.map(async (name) => [name, await readFile(join(kekDir, name), 'utf8')]));
}

async function replace(path: string, text: string): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, text, { mode: 0o400 });
}

async function passphraseFile(text: string): Promise<string> {
  const path = join(dataDir, 'passphrase');
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

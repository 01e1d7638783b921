import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { generateSeed, signCheckpoint, signingKeyFromSeed, verifierKey } from '@cardea/crypto/checkpoint';
import type { LogRange } from '@cardea/contracts/audit-api';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { toBase64 } from '@cardea/crypto/encoding';
import { chainHash, encodeEntryAround, genesis, leafHash } from '@cardea/crypto/hash-chain';
import { rootHash } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { extract } from 'tar-stream';
import { parseEntry } from '../src/entry-row.ts';
import { exportLog } from '../src/read/export.ts';
import type { ExportContext } from '../src/read/export.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { ORIGIN, appendTo, someEvents, startLog } from './test-log.ts';
import { verify } from './verify.ts';

type Files = Map<string, Buffer>;

async function unpack(tar: Buffer): Promise<Files> {
  const files: Files = new Map();
  const reading = extract();
  reading.on('entry', (header, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk as Buffer));
    stream.on('end', () => {
      files.set(header.name, Buffer.concat(chunks));
      next();
    });
  });
  await pipeline([tar], reading);
  return files;
}

describe.each(engines)('an export on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;
  let ctx: ExportContext;
  let vkey: string;
  let tarPath: string;

  beforeAll(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    const started = await startLog(db, database.folder);
    for (let i = 0; i < 10; i += 1) await appendTo(started.log, someEvents(500));
    ctx = { db, signer: started.signer, now: Date.now };
    vkey = started.vkey;
    tarPath = join(database.folder, 'export.tar');
  });

  afterAll(async () => {
    await db.close();
    await database.remove();
  });

  async function exportTo(path: string, range: LogRange): Promise<Files> {
    const tar = await buffer(await exportLog(ctx, range));
    writeFileSync(path, tar);
    return unpack(tar);
  }

  test('of the whole log passes the verifier, in files of at most 4,096 entries', async () => {
    const files = await exportTo(tarPath, {});

    expect([...files.keys()]).toEqual([
      'manifest.json',
      'checkpoint',
      'entries-0-4095.jsonl',
      'entries-4096-4999.jsonl',
    ]);
    expect(files.get('entries-4096-4999.jsonl')!.toString().split('\n')).toHaveLength(905);
    expect(verify('--key', vkey, tarPath)).toEqual({
      code: 0,
      said: expect.stringContaining('5000 entries, 0 to 4999'),
    });
  });

  test.each([
    [0, 1],
    [0, 256],
    [1, 4999],
    [255, 257],
    [511, 4609],
    [4999, 5000],
    [4097, 5000],
  ])('of the entries %d to %d is tied to the root', async (from, to) => {
    const files = await exportTo(tarPath, { fromSeq: from, toSeq: to });

    expect(files.has('range.json')).toBe(true);
    expect(verify('--key', vkey, tarPath)).toEqual({
      code: 0,
      said: expect.stringContaining(`${to - from} entries, ${from}`),
    });
  });

  test.each([
    { fromSeq: 0, toSeq: 5001 },
    { fromSeq: 5000 },
    { fromSeq: 7, toSeq: 7 },
    { fromSeq: 8, toSeq: 7 },
    { from: '2030-01-01' },
    { to: '2020-01-01T00:00:00Z' },
  ])('of %j is refused', async (range) => {
    await expect(exportLog(ctx, range)).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('of a year by its dates has the entries of that year, as a list by the same dates does', async () => {
    const year = new Date().getUTCFullYear();
    const files = await exportTo(tarPath, { from: `${year}-01-01`, to: `${year + 1}-01-01`, toSeq: 5000 });
    expect(JSON.parse(files.get('manifest.json')!.toString())).toMatchObject({ from: 0, to: 5000 });

    const [, line] = files.get('entries-0-4095.jsonl')!.toString().split('\n');
    const { writtenAt } = parseEntry(Buffer.from(line!));
    const part = await exportTo(tarPath, { from: writtenAt, fromSeq: 0, toSeq: 3 });
    expect(JSON.parse(part.get('manifest.json')!.toString())).toMatchObject({ from: 1, to: 3 });
    expect(verify('--key', vkey, tarPath)).toMatchObject({ code: 0 });
  });

  test('is read no faster than its reader takes it', async () => {
    let pages = 0;
    const counting: Db = {
      ...db,
      query: (sql, params) => {
        if (/select entry\b/.test(sql)) pages += 1;
        return db.query(sql, params);
      },
    };
    const stream = await exportLog({ ...ctx, db: counting }, {});
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    await new Promise((resolve) => setImmediate(resolve));

    // The pages of the first of its two files.
    expect(pages).toBeLessThanOrEqual(16);
    await chunks.return?.(undefined);
    expect(stream.destroyed).toBe(true);
  });

  test('that fails half way ends with an error, not as if complete', async () => {
    const failing: Db = {
      ...db,
      query: (sql, params) =>
        /select entry\b/.test(sql) && params?.[0] === 4096 ? Promise.reject(new Error('disk')) : db.query(sql, params),
    };
    const stream = await exportLog({ ...ctx, db: failing }, {});

    await expect(buffer(stream)).rejects.toThrow('disk');
  });
});

describe('the verifier', () => {
  let database: AuditDatabase;
  let db: Db;
  let key: SigningKey;
  let vkey: string;
  let good: Files;
  let folder: string;
  let entries: Buffer[];
  let notes: Map<number, string>;

  beforeAll(async () => {
    database = await auditDatabase('sqlite');
    db = database.open();
    const started = await startLog(db, database.folder);
    ({ key, vkey } = started);
    notes = new Map([[0, started.signer.newest().note]]);
    for (const size of [4, 7, 12]) {
      await appendTo(started.log, someEvents(size - started.signer.newest().size));
      notes.set(size, (await started.signer.signIfGrown()).note);
    }
    const ctx = { db, signer: started.signer, now: Date.now };
    good = await unpack(await buffer(await exportLog(ctx, {})));
    entries = splitLines(good.get('entries-0-11.jsonl')!);
    folder = join(database.folder, 'export');
  });

  afterAll(async () => {
    await db.close();
    await database.remove();
  });

  function write(changes: Record<string, string | Buffer | undefined>): string {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const [name, content] of Object.entries({ ...Object.fromEntries(good), ...changes })) {
      if (content !== undefined) writeFileSync(join(folder, name), content);
    }
    return folder;
  }

  const withEntries = (lines: (Buffer | string)[]) => write({ 'entries-0-11.jsonl': joinLines(lines) });
  const held = (note: string) => {
    const path = join(database.folder, 'held');
    writeFileSync(path, note);
    return path;
  };

  test('accepts the export as a folder, with every earlier checkpoint', () => {
    for (const note of notes.values()) {
      expect(verify('--key', vkey, write({}), '--checkpoint', held(note))).toMatchObject({ code: 0 });
    }
  });

  test('accepts an empty log', async () => {
    const empty = await auditDatabase('sqlite');
    const emptyDb = empty.open();
    const started = await startLog(emptyDb, empty.folder);
    const path = join(empty.folder, 'export.tar');
    const ctx = { db: emptyDb, signer: started.signer, now: Date.now };
    writeFileSync(path, await buffer(await exportLog(ctx, {})));

    expect(verify('--key', started.vkey, path)).toMatchObject({ code: 0 });
    await emptyDb.close();
    await empty.remove();
  });

  test.each([0, 5, 11])('names entry %d if one of its bytes was changed: 10', (seq) => {
    const line = Buffer.from(entries[seq]!.toString().replace('payments', 'paiments'));
    const result = verify('--key', vkey, withEntries(entries.with(seq, line)));

    expect(result).toMatchObject({ code: 10, said: expect.stringMatching(new RegExp(`entry ${seq}\\b`)) });
  });

  test('finds a changed entry after which all entries were written again: 10', () => {
    const result = verify('--key', vkey, withEntries(rewrittenFrom(5)), '--checkpoint', held(notes.get(4)!));

    expect(result).toMatchObject({ code: 10, said: expect.stringContaining('an entry from 4 to 11') });
  });

  test.each([
    ['not JSON', (text: string) => text.slice(0, -1)],
    ['written with an extra space', (text: string) => text.replace('":', '": ')],
    ['from another log', (text: string) => text.replace(ORIGIN, 'cardea.evil/audit')],
    ['in its place with another number', (text: string) => text.replace('"seq":6,', '"seq":9,')],
    ['written with an extra key', (text: string) => text.replace('"v":1', '"v":1,"w":1')],
    ['written with null', (text: string) => text.replace('"version":3', '"version":null')],
    ['larger than 16 KiB', (text: string) => text.replace('payments', 'p'.repeat(17_000))],
  ])('finds an entry that is %s: 10', (_name, change) => {
    const line = change(entries[6]!.toString());
    expect(line).not.toBe(entries[6]!.toString());

    expect(verify('--key', vkey, withEntries(entries.with(6, Buffer.from(line))))).toMatchObject({
      code: 10,
      said: expect.stringMatching(/entry 6\b/),
    });
  });

  test.each(['', '"peer":"",', '"peer":["api-service"],', '"peer":"API",'])(
    'refuses an entry that does not name its service, but has »%s«: 10',
    (peer) => {
      const line = entries[6]!.toString().replace('"peer":"api-service",', peer);

      expect(verify('--key', vkey, withEntries(entries.with(6, Buffer.from(line))))).toMatchObject({
        code: 10,
        said: expect.stringMatching(/entry 6: is not an entry of version 1/),
      });
    },
  );

  test('finds a last line without its line feed: 10', () => {
    const content = joinLines(entries).subarray(0, -1);

    expect(verify('--key', vkey, write({ 'entries-0-11.jsonl': content }))).toMatchObject({ code: 10 });
  });

  test('finds an entry beyond the signed ones: 10', () => {
    const extra = rewrittenFrom(0, 13);

    expect(verify('--key', vkey, withEntries([...entries, extra[12]!]))).toMatchObject({ code: 10 });
    const linked = entryAfter(entries[11]!);
    expect(verify('--key', vkey, withEntries([...entries, linked]))).toMatchObject({
      code: 10,
      said: expect.stringContaining('entry 12 is beyond'),
    });
  });

  test.each([0, 6])('finds line %d missing: 11', (seq) => {
    expect(verify('--key', vkey, withEntries(entries.toSpliced(seq, 1)))).toMatchObject({
      code: 11,
      said: expect.stringContaining(`first missing entry ${seq}`),
    });
  });

  test.each([0, 6, 11])('finds line %d twice: 12', (seq) => {
    expect(verify('--key', vkey, withEntries(entries.toSpliced(seq, 0, entries[seq]!)))).toMatchObject({
      code: 12,
      said: expect.stringContaining(`entry ${seq} is repeated`),
    });
  });

  test('finds a log whose end is cut off: 13', () => {
    expect(verify('--key', vkey, withEntries(entries.slice(0, -2)))).toMatchObject({
      code: 13,
      said: expect.stringContaining('first missing entry 10'),
    });
    expect(verify('--key', vkey, write({ 'entries-0-11.jsonl': undefined }))).toMatchObject({ code: 13 });
  });

  test('finds a cut end under an older checkpoint by a newer one held elsewhere: 13', () => {
    const shorter = {
      'entries-0-11.jsonl': joinLines(entries.slice(0, 7)),
      checkpoint: notes.get(7)!,
      'manifest.json': good
        .get('manifest.json')!
        .toString()
        .replace('"size": 12', '"size": 7')
        .replace('"to": 12', '"to": 7'),
    };

    expect(verify('--key', vkey, write(shorter))).toMatchObject({ code: 0 });
    expect(verify('--key', vkey, write(shorter), '--checkpoint', held(notes.get(12)!))).toMatchObject({
      code: 13,
      said: expect.stringContaining('first missing entry 7'),
    });
  });

  test.each([7, 12])('finds another history that was signed at size %d: 14', async (size) => {
    const lines = rewrittenFrom(2, size);
    const root = await rootHash({ leaves: async (a, b) => lines.slice(a, b).map(leafHash) }, size);
    const fork = signCheckpoint(key, { origin: ORIGIN, size, root });

    expect(verify('--key', vkey, write({}), '--checkpoint', held(fork))).toMatchObject({ code: 14 });
  });

  test('finds a checkpoint that the key did not sign: 15', () => {
    const other = signingKeyFromSeed(generateSeed());
    const otherKey = verifierKey(ORIGIN, other.publicKey);
    const root = Buffer.alloc(32);
    const note = good.get('checkpoint')!.toString();

    expect(verify('--key', otherKey, write({}))).toMatchObject({ code: 15 });
    for (const checkpoint of [
      signCheckpoint(other, { origin: ORIGIN, size: 12, root }),
      note.replace('\n12\n', '\n11\n'),
      note.replace(/\n— .*\n/, '\n'),
      `${note}\n`,
    ]) {
      expect(verify('--key', vkey, write({ checkpoint }))).toMatchObject({ code: 15 });
    }
    expect(verify('--key', vkey, write({}), '--checkpoint', held(note.replace('\n12\n', '\n13\n')))).toMatchObject({
      code: 15,
    });
  });

  test('says that a held file is not a checkpoint: 15', () => {
    const [one = '', other = ''] = [notes.get(7), notes.get(12)];
    const refused = '{"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthenticated"}';
    const nothing = { code: 15, said: expect.stringMatching(/^NOT A CHECKPOINT: .*held is another kind of file\n$/) };
    for (const text of [refused, `${refused}\n`, '', '<html>\n\n</html>\n', vkey, `\n${one}`, `${refused}\n${one}`]) {
      expect(verify('--key', vkey, write({}), '--checkpoint', held(text))).toEqual(nothing);
    }
    const between = { code: 15, said: expect.stringMatching(/^NOT A CHECKPOINT: .*held, line 6\n$/) };
    expect(verify('--key', vkey, write({}), '--checkpoint', held(`${one}${refused}\n${other}`))).toEqual(between);
    expect(verify('--key', vkey, write({}), '--checkpoint', held(`${one}${refused}`))).toEqual(between);
    const unsigned = { code: 15, said: expect.stringMatching(/^SIGNATURE: .*held is not signed by the given key/) };
    for (const text of [one.replace(/\n— .*\n/, '\n'), one.replace('\n7\n', '\n8\n')]) {
      expect(verify('--key', vkey, write({}), '--checkpoint', held(text))).toEqual(unsigned);
    }
    expect(verify('--key', vkey, write({ checkpoint: one + other }))).toMatchObject({ code: 15 });
  });

  test('compares every checkpoint of every file', async () => {
    const [four = '', seven = '', twelve = ''] = [notes.get(4), notes.get(7), notes.get(12)];
    for (const text of [four + seven + twelve, `${four}\n${seven}\n\n${twelve}`, seven + seven]) {
      expect(verify('--key', vkey, write({}), '--checkpoint', held(text))).toMatchObject({ code: 0 });
    }
    const lines = rewrittenFrom(2, 7);
    const root = await rootHash({ leaves: async (a, b) => lines.slice(a, b).map(leafHash) }, 7);
    const fork = signCheckpoint(key, { origin: ORIGIN, size: 7, root });
    for (const text of [fork + twelve, twelve + fork, four + fork]) {
      expect(verify('--key', vkey, write({}), '--checkpoint', held(text))).toMatchObject({ code: 14 });
    }
    const both = { code: 14, said: expect.stringContaining('both sign 7 entries') };
    expect(verify('--key', vkey, write({}), '--checkpoint', held(seven + fork))).toEqual(both);
    const wrong = seven.replace('\n7\n', '\n8\n');
    expect(verify('--key', vkey, write({}), '--checkpoint', held(wrong + twelve))).toMatchObject({
      code: 15,
      said: expect.stringContaining('checkpoint 1 of 2'),
    });

    const good = join(database.folder, 'good');
    writeFileSync(good, twelve);
    for (const [text, code] of [
      ['garbage', 15],
      [fork, 14],
      [seven, 0],
    ] as const) {
      const bad = held(text);
      expect(verify('--key', vkey, write({}), '--checkpoint', bad, '--checkpoint', good)).toMatchObject({ code });
      expect(verify('--key', vkey, write({}), '--checkpoint', good, '--checkpoint', bad)).toMatchObject({ code });
    }
  });

  test('compares every receipt with its entry: 17', () => {
    const receipt = (seq: number, line = entries[seq]!) => `seq=${seq} leaf=${toBase64(leafHash(line))}`;
    const file = join(database.folder, 'receipt');
    writeFileSync(file, `Cardea-Receipt: ${receipt(11)}\r\n`);
    const ok = verify('--key', vkey, write({}), '--receipt', receipt(0), '--receipt', file);
    expect(ok).toMatchObject({ code: 0, said: expect.stringContaining('entry 11 is the one that the receipt is for') });

    const other = { code: 17, said: expect.stringContaining('entry 3 is not the one that the receipt is for') };
    for (const args of [
      [receipt(3, entries[4])],
      [receipt(0), receipt(3, entries[4])],
      [receipt(3, entries[4]), receipt(0)],
    ]) {
      expect(verify('--key', vkey, write({}), ...args.flatMap((text) => ['--receipt', text]))).toEqual(other);
    }
    expect(verify('--key', vkey, write({}), '--receipt', receipt(12, entries[0]))).toMatchObject({
      code: 1,
      said: expect.stringContaining('export more'),
    });
    for (const text of ['seq=3', 'seq=3 leaf=AAAA', 'seq=03 leaf=x', join(folder, 'nowhere')]) {
      expect(verify('--key', vkey, write({}), '--receipt', text)).toMatchObject({ code: 2 });
    }
  });

  test('finds a manifest or a range that does not match: 10', async () => {
    const manifest = good.get('manifest.json')!.toString();
    expect(verify('--key', vkey, write({ 'manifest.json': manifest.replace('12', '13') }))).toMatchObject({ code: 10 });
    const range = '{"v":1,"from":0,"to":7,"size":12,"prev":"","left":[],"right":[]}';
    expect(verify('--key', vkey, write({ 'range.json': range }))).toMatchObject({ code: 10 });
  });

  test.each([
    ['no key', []],
    ['a mistyped key', ['--key', 'cardea.test/audit+00000000+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs']],
    ['two exports', ['--key', 'KEY', 'elsewhere']],
    ['two keys', ['--key', 'KEY', '--key', 'KEY']],
    ['an option without a value', ['--key', 'KEY', '--checkpoint', '--receipt', 'x']],
    ['an unknown option', ['--key', 'KEY', '--chekpoint', 'x']],
    ['a proof beside an export', ['--key', 'KEY', '--proof', 'x', '--receipt', 'x']],
  ])('prints its usage for %s: 2', (_name, args) => {
    expect(verify(...args.map((text) => (text === 'KEY' ? vkey : text)), write({}))).toEqual({
      code: 2,
      said: expect.stringMatching(/^USAGE: [^]*\nusage: node verifier\.mjs/),
    });
  });

  test('refuses a missing export or file: 1', () => {
    expect(verify('--key', vkey, join(folder, 'nowhere'))).toMatchObject({ code: 1 });
    expect(verify('--key', vkey, write({ checkpoint: undefined }))).toMatchObject({ code: 1 });
    expect(verify('--key', vkey, write({ 'manifest.json': undefined }))).toMatchObject({ code: 1 });
  });

  /** The log written again from a changed entry on, as somebody without the signing key could do it. */
  function rewrittenFrom(changed: number, size = entries.length): Buffer[] {
    const lines: Buffer[] = [];
    let prev = genesis(ORIGIN, key.publicKey);
    for (let seq = 0; seq < size; seq += 1) {
      const { event, writtenAt } = parseEntry(entries[Math.min(seq, 11)]!);
      const text = canonicalize(seq === changed ? { ...event, decision: 'deny' } : event);
      const line = Buffer.from(encodeEntryAround(text, { log: ORIGIN, peer: 'api-service', prev, seq, writtenAt }));
      prev = chainHash(line);
      lines.push(line);
    }
    return lines;
  }
});

describe('a tar', () => {
  test('that is damaged is refused', async () => {
    const database = await auditDatabase('sqlite');
    const db = database.open();
    const { log, signer, vkey } = await startLog(db, database.folder);
    await appendTo(log, someEvents(3));
    const tar = await buffer(await exportLog({ db, signer, now: Date.now }, {}));
    const path = join(database.folder, 'bad.tar');
    const codeOf = (bytes: Buffer) => {
      writeFileSync(path, bytes);
      return verify('--key', vkey, path).code;
    };

    expect(codeOf(tar)).toBe(0);
    expect(codeOf(tar.subarray(0, 2048))).toBe(1);
    expect(codeOf(Buffer.concat([tar.subarray(0, -1024), tar]))).toBe(10);
    // The damage is in a name, a size, a root, a number, a padding, and after the end.
    const mistakes = [3, 130, tar.indexOf('\n3\n') + 5, tar.indexOf('"seq":1') + 6, tar.length - 1025, tar.length - 1];
    for (const at of mistakes) {
      const bytes = Buffer.from(tar);
      bytes[at]! ^= 1;
      expect(codeOf(bytes)).not.toBe(0);
    }
    await db.close();
    await database.remove();
  });
});

function splitLines(content: Buffer): Buffer[] {
  return content
    .toString()
    .split('\n')
    .slice(0, -1)
    .map((line) => Buffer.from(line));
}

function joinLines(lines: (Buffer | string)[]): Buffer {
  return Buffer.from(lines.map((line) => `${line.toString()}\n`).join(''));
}

function entryAfter(line: Buffer): Buffer {
  const { event, seq, writtenAt } = parseEntry(line);
  const frame = { log: ORIGIN, peer: 'api-service', prev: chainHash(line), seq: seq + 1, writtenAt };
  return Buffer.from(encodeEntryAround(canonicalize(event), frame));
}

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Person } from '@cardea/testkit/person';
import type { Db } from '@cardea/storage/db';
import { inEachProfile } from '@cardea/testkit/use-system';
import { seededRandom } from '@cardea/testkit/random';
import { REFERENCE_TYPE, SECRET_BYTES_MAX } from '@cardea/contracts/secrets/secret-shapes';

// Format, DEK version and nonce (packages/crypto/FORMAT.md).
const HEADER_BYTES = 29;
const OVERHEAD_BYTES = 45;
const VALUE = 'the value that nobody may see changed';
/** The number of rows that are changed and read at once. */
const AT_ONCE = 16;

const at = (vault: string, name: string) => `/vaults/${vault}/secrets/${name}`;

inEachProfile((system, { admin }) => {
  let db: Db;

  beforeAll(async () => {
    for (const vault of ['tampered', 'other']) {
      await admin.createVault(vault);
      await admin.putSecret(vault, 'twin', `${VALUE} of ${vault}`);
    }
    for (const value of ['older', VALUE]) await admin.putSecret('tampered', 'secret', value);
    await admin.putSecret('tampered', 'trashed', 'in the trash');
    await admin.delete(at('tampered', 'trashed')).expect(204);
    db = system.openDatabase();
  });
  afterAll(async () => {
    await db.close();
  });

  async function stored(vault: string, name: string, version = 1): Promise<Buffer> {
    const [row] = await db.query<{ ciphertext: Uint8Array }>(
      `select v.ciphertext
         from secret_version v
         join secret s on s.id = v.secret_id
         join vault u on u.id = s.vault_id
        where u.name = $1 and s.name = $2 and v.version = $3`,
      [vault, name, version],
    );
    return Buffer.from(row!.ciphertext);
  }

  async function store(name: string, ciphertext: Uint8Array, version: number): Promise<void> {
    await db.query(
      `update secret_version
          set ciphertext = $1
        where version = $2
          and secret_id = (select s.id from secret s join vault u on u.id = s.vault_id where u.name = 'tampered' and s.name = $3)`,
      [ciphertext, version, name],
    );
  }

  async function countFailures(): Promise<{ recorded: number; counted: number }> {
    const metrics = await (await fetch(`${system.opsUrl}/metrics`)).text();
    const counted = /^cardea_suspicious_total\{(?=[^}]*rule="integrity_failure")[^}]*\} (\d+)$/m.exec(metrics)?.[1];
    let recorded = 0;
    let cursor: string | undefined;
    do {
      const page = await admin
        .get(`/audit/entries?limit=500&decision=deny${cursor ? `&cursor=${cursor}` : ''}`)
        .expect(200);
      const { items, nextCursor } = page.body as { items: { event: { suspicious?: string } }[]; nextCursor?: string };
      recorded += items.filter(({ event }) => event.suspicious === 'integrity_failure').length;
      cursor = nextCursor;
    } while (cursor);
    return { recorded, counted: Number(counted ?? 0) };
  }

  /** The answer to a read of a damaged row: it says that something is wrong here, and nothing more. */
  async function expectDamage(path: string): Promise<void> {
    const { status, text, headers } = await admin.get(path);
    expect([path, status, JSON.parse(text)]).toEqual([
      path,
      500,
      expect.objectContaining({ code: 'internal', detail: 'internal error' }),
    ]);
    expect(headers).not.toHaveProperty('etag');
  }

  /** Reads a value by every call. Each answers damage and nothing else, and is recorded and counted. */
  async function expectDamageHowever(vault: string, name: string): Promise<void> {
    const before = await countFailures();
    const carla = await system.as('carla');
    await expectDamage(at(vault, name));
    await expectDamage(`${at(vault, name)}?version=1`);
    const ways: [Person, string, object][] = [
      [admin, `/vaults/${vault}/secrets:batchRead`, { names: [name] }],
      [admin, `/vaults/${vault}/secrets:export`, { format: 'json', prefix: name }],
      [admin, `/vaults/${vault}/secrets:move`, { prefix: name, toPrefix: 'elsewhere' }],
      [admin, `${at(vault, name)}:move`, { name: 'elsewhere' }],
      [admin, `${at(vault, name)}:rollback`, { version: 1 }],
      [carla, `${at(vault, name)}:breakGlass`, { reason: 'the yearly exercise' }],
    ];
    for (const [person, path, body] of ways) {
      const { status, body: problem, text } = await person.post(path, body);
      expect([path, status, problem.code, text.includes(VALUE)]).toEqual([path, 500, 'internal', false]);
    }
    const calls = ways.length + 2;
    expect(await countFailures()).toEqual({ recorded: before.recorded + calls, counted: before.counted + calls });
    await admin.get(at(vault, 'elsewhere')).expect(404);
  }

  /** Flips each of the bits in its own row, and then restores the row. */
  async function expectNoFlipToPass(bits: number[], value: string): Promise<void> {
    const names = Array.from({ length: AT_ONCE }, (_, number) => `flipped/${value.length}/${number}`);
    for (const name of names) await admin.putSecret('tampered', name, value);
    const before = await countFailures();
    const originals = await Promise.all(names.map((name) => stored('tampered', name)));
    for (let start = 0; start < bits.length; start += AT_ONCE) {
      const group = bits.slice(start, start + AT_ONCE);
      for (const [number, bit] of group.entries()) await store(names[number]!, flip(originals[number]!, bit), 1);
      await Promise.all(group.map((_bit, number) => expectDamage(at('tampered', names[number]!))));
    }
    expect(await countFailures()).toEqual({
      recorded: before.recorded + bits.length,
      counted: before.counted + bits.length,
    });
    for (const [number, name] of names.entries()) {
      await store(name, originals[number]!, 1);
      expect(await admin.readSecret('tampered', name)).toBe(value);
    }
  }

  test('no bit of the header can be flipped: not of the format, the DEK version or the nonce', async () => {
    await expectNoFlipToPass(
      Array.from({ length: HEADER_BYTES * 8 }, (_, bit) => bit),
      VALUE,
    );
  });

  test('none of two hundred bits of a value of 8 KiB and its tag can be flipped', async () => {
    const random = seededRandom(system.profile);
    const [header, all] = [HEADER_BYTES * 8, (OVERHEAD_BYTES + SECRET_BYTES_MAX) * 8];
    const inTag = Array.from({ length: 20 }, () => all - 1 - random.below(128));
    const anywhere = Array.from({ length: 180 }, () => header + random.below(all - header));
    await expectNoFlipToPass([...inTag, ...anywhere], 'v'.repeat(SECRET_BYTES_MAX));
  });

  test.each<[string, (own: Buffer) => Buffer | Promise<Buffer>]>([
    ['one byte too short', (own) => own.subarray(0, -1)],
    ['without its tag', (own) => own.subarray(0, -16)],
    ['cut to its header', (own) => own.subarray(0, HEADER_BYTES)],
    ['of one byte', (own) => own.subarray(0, 1)],
    ['empty', () => Buffer.alloc(0)],
    ['one byte too long', (own) => Buffer.concat([own, Buffer.from([0])])],
    ['twice', (own) => Buffer.concat([own, own])],
    ['with a byte before it', (own) => Buffer.concat([Buffer.from([1]), own])],
    ['of zeros', (own) => Buffer.alloc(own.length)],
    ['of another version of the secret', () => stored('tampered', 'secret', 1)],
    ['of another secret of the vault', () => stored('tampered', 'twin')],
    ['of a secret of another vault', () => stored('other', 'twin')],
    ['of a secret in the trash', () => stored('tampered', 'trashed')],
  ])('a row with a ciphertext %s is reported as damage by every read, and counted', async (_what, damage) => {
    const path = at('tampered', 'secret');
    const original = await stored('tampered', 'secret', 2);
    const before = await countFailures();
    await store('secret', await damage(original), 2);

    await expectDamage(path);
    await expectDamage(`${path}?version=2`);
    for (const [method, body] of [
      [':batchRead', { names: ['twin', 'secret'] }],
      [':export', { format: 'json', prefix: 'secret' }],
      ['/secret:rollback', { version: 2 }],
      ['/secret:move', { name: 'elsewhere' }],
    ] as const) {
      const { status, body: problem, text } = await admin.post(`/vaults/tampered/secrets${method}`, body);
      expect([method, status, problem.code]).toEqual([method, 500, 'internal']);
      expect(text).not.toContain(VALUE);
    }
    expect(await countFailures()).toEqual({ recorded: before.recorded + 6, counted: before.counted + 6 });
    expect((await admin.get(`${path}?version=1`).expect(200)).body.value).toBe('older');

    expect((await admin.get(at('tampered', 'elsewhere'))).status).toBe(404);

    await store('secret', original, 2);
    expect(await admin.readSecret('tampered', 'secret')).toBe(VALUE);
  });

  test('a damaged version is overwritten, does not count as identical, and the damage is recorded', async () => {
    const path = at('tampered', 'mended');
    await admin.putSecret('tampered', 'mended', VALUE);
    await store('mended', flip(await stored('tampered', 'mended'), 300), 1);
    const answer = await admin.put(path, { value: VALUE }).expect(200);
    expect(answer.body).toMatchObject({ version: 2, changed: true });
    expect(await admin.readSecret('tampered', 'mended')).toBe(VALUE);
    await expectDamage(`${path}?version=1`);
    const { items } = (await admin.get('/audit/entries?action=secret.write&limit=5').expect(200)).body;
    const events = (items as { event: { requestId: string } }[]).map(({ event }) => event);
    const own = events.filter((event) => event.requestId === answer.headers['x-request-id']).toReversed();
    expect(own).toMatchObject([
      { decision: 'allow', resource: { name: 'mended', version: 2 } },
      {
        decision: 'deny',
        rule: 'integrity',
        suspicious: 'integrity_failure',
        resource: { name: 'mended', version: 1 },
      },
    ]);
  });

  test("two vaults with swapped names do not open each other's values", async () => {
    for (const vault of ['left', 'right']) {
      await admin.createVault(vault);
      await admin.putSecret(vault, 'same', `${VALUE} of ${vault}`);
    }
    const reference = { value: '{"$ref":{"vault":"left","name":"same"}}', contentType: REFERENCE_TYPE };
    await admin.put(at('tampered', 'to-the-left'), reference).expect(201);
    await swapNames();
    for (const vault of ['left', 'right']) await expectDamageHowever(vault, 'same');
    // Its own value is in order, and says that the vault of this name is not the one that it was written for.
    const { status, body } = await admin.get(at('tampered', 'to-the-left'));
    expect([status, body.detail]).toEqual([409, expect.stringContaining('was made after the reference')]);

    await swapNames();
    for (const vault of ['left', 'right']) expect(await admin.readSecret(vault, 'same')).toBe(`${VALUE} of ${vault}`);
    expect(await admin.readSecret('tampered', 'to-the-left')).toBe(`${VALUE} of left`);
  });

  async function swapNames(): Promise<void> {
    for (const [from, to] of [
      ['left', 'swapped'],
      ['right', 'left'],
      ['swapped', 'right'],
    ] as const) {
      await db.query(`update vault set name = $2 where name = $1`, [from, to]);
    }
  }

  const text = { value: VALUE };
  const page = { value: VALUE, contentType: 'text/plain' };
  const bytes = { value: Buffer.from(VALUE).toString('base64'), encoding: 'base64' };
  const elsewhere = { value: '{"$ref":{"vault":"other","name":"twin"}}', contentType: 'application/json' };
  test.each<[string, string, object, string]>([
    ['text as bytes', 'text', text, `encoding = 'base64'`],
    ['bytes as text', 'bytes', bytes, `encoding = 'utf8'`],
    ['another content type', 'page', page, `content_type = 'text/html'`],
    ['no content type', 'page', page, `content_type = null`],
    ['a content type where it had none', 'text', text, `content_type = 'text/html'`],
    ['an empty content type where it had none', 'text', text, `content_type = ''`],
    ['a reference', 'elsewhere', elsewhere, `content_type = '${REFERENCE_TYPE}'`],
  ])('a row that was edited to be %s does not open', async (_what, name, put, edit) => {
    await admin.put(at('tampered', `edited/${name}`), put);
    const { body: before } = await admin.get(at('tampered', `edited/${name}`)).expect(200);
    const [row] = await rowsNamed(`edited/${name}`);
    await db.query(`update secret_version set ${edit} where secret_id = $1`, [row!.secret_id]);
    await expectDamageHowever('tampered', `edited/${name}`);

    const { secret_id: id, encoding, content_type: type } = row!;
    await db.query(`update secret_version set encoding = $2, content_type = $3 where secret_id = $1`, [
      id,
      encoding,
      type,
    ]);
    expect((await admin.get(at('tampered', `edited/${name}`)).expect(200)).body).toEqual(before);
  });

  function rowsNamed(name: string) {
    return db.query<{ secret_id: string; encoding: string; content_type: string | null }>(
      `select v.secret_id, v.encoding, v.content_type
         from secret_version v
         join secret s on s.id = v.secret_id
        where s.name = $1`,
      [name],
    );
  }

  test('a version that was put back from the trash by hand is damage only in the wrong place', async () => {
    const ciphertext = await stored('tampered', 'trashed');
    await store('twin', ciphertext, 1);
    await expectDamage(at('tampered', 'twin'));
    expect((await admin.get(at('tampered', 'trashed'))).status).toBe(404);
  });
});

function flip(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 0x80 >> (bit & 7);
  return copy;
}

import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { DOCUMENT_BODY_BYTES_MAX, DOCUMENT_BYTES_MAX, documentFormats } from '@cardea/contracts/secrets/documents';
import { REFERENCE_TYPE, SECRET_BYTES_MAX } from '@cardea/contracts/secrets/secret-shapes';
import { inEachProfile } from '@cardea/testkit/use-system';
import { vaultLock } from '@cardea/vault/locks';
import type { Stranger } from '@cardea/testkit/person';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';
import { expectRecords, recordsOf } from '../identity/identity.ts';
import { at, contents, countRecords, namesIn, query, trail, untilAnswers } from './ground.ts';

const CANARY = 'canary-9be2 \'"`$(id)`\\\n\t#=\u0000é😀';

interface Put {
  value: string;
  encoding?: string;
  contentType?: string;
}

const secrets: Record<string, Put> = {
  db: { value: 'called as the prefix' },
  'db/empty': { value: '' },
  'db/key': { value: Buffer.from([0, 255, 10, 13]).toString('base64'), encoding: 'base64' },
  'db/password': { value: CANARY, contentType: 'text/plain; charset=utf-8' },
  'db-other': { value: ' blank ' },
  pem: { value: '-----BEGIN KEY-----\r\nabc=\n-----END KEY-----\n' },
  reference: { value: '{"$ref": {"vault":"source","name":"db/password"}}', contentType: REFERENCE_TYPE },
};

const one = (name: string, version: number) => ({ resource: expect.objectContaining({ name, version }) as never });

inEachProfile((system, { alice }) => {
  beforeAll(async () => {
    await fill('source', secrets);
  });

  async function fill(vault: string, puts: Record<string, Put>): Promise<void> {
    await alice.createVault(vault);
    for (const [name, put] of Object.entries(puts)) await alice.put(at(vault, name), put).expect(201);
  }

  function exporting(vault: string, body: object = { format: 'json' }, by: Stranger = alice) {
    return by.post(`/vaults/${vault}/secrets:export`, body);
  }

  function importing(vault: string, content: string, options: object = {}, by: Stranger = alice) {
    return by.post(`/vaults/${vault}/secrets:import`, { format: 'dotenv', content, ...options });
  }

  /** Writes a document with one value that exists already. */
  async function expectNothingTold(by: Stranger): Promise<void> {
    const { body } = await importing('dry', 'same=x\nother=y', { dryRun: true }, by).expect(200);
    expect(body.items).toEqual(['same', 'other'].map((name) => ({ name, result: 'updated' })));
  }

  const rows = () => contents(system);

  /** The content of a vault, with references as themselves. */
  async function heldIn(vault: string): Promise<Record<string, Put>> {
    const held: Record<string, Put> = {};
    for (const name of await namesIn(alice, vault)) {
      const { body } = await alice.get(`${at(vault, name)}?resolve=false`).expect(200);
      const { value, encoding, contentType } = body as Put;
      held[name] = { value, ...(encoding === 'base64' ? { encoding } : {}), ...(contentType ? { contentType } : {}) };
    }
    return held;
  }

  describe.each(documentFormats)('as %s', (format) => {
    test('a vault is imported byte for byte into another one, and a second import changes nothing', async () => {
      const { body } = await exporting('source', { format }).expect(200);
      expect(body).toEqual({ format, content: expect.any(String), count: Object.keys(secrets).length });
      const vault = `copy-${format}`;
      await alice.createVault(vault);
      const { body: imported } = await importing(vault, body.content as string, { format }).expect(200);
      const names = Object.keys(secrets).toSorted();
      expect(imported).toEqual({
        dryRun: false,
        items: names.map((name) => ({ name, result: 'created', version: 1 })),
      });
      expect(await heldIn(vault)).toEqual(secrets);

      const before = await rows();
      const { body: again } = await importing(vault, body.content as string, { format }).expect(200);
      expect(again.items).toEqual(names.map((name) => ({ name, result: 'unchanged', version: 1 })));
      expect(await rows()).toEqual(before);
    });

    test('names are relative to the prefix, and the secret with the name of the prefix is a dot', async () => {
      const { body } = await exporting('source', { format, prefix: 'db' }).expect(200);
      expect(body.count).toBe(4);
      expect(body.content).not.toContain('db');
      const vault = `moved-${format}`;
      await alice.createVault(vault);
      await importing(vault, body.content as string, { format, prefix: 'main/db' }).expect(200);
      const under = Object.entries(secrets).filter(([name]) => name === 'db' || name.startsWith('db/'));
      expect(await heldIn(vault)).toEqual(Object.fromEntries(under.map(([name, put]) => [`main/${name}`, put])));
    });

    test('an empty vault is exported as an empty document', async () => {
      await alice.createVault(`empty-${format}`);
      const { body } = await exporting(`empty-${format}`, { format }).expect(200);
      expect(body.count).toBe(0);
      const imported = await importing(`empty-${format}`, body.content as string, { format }).expect(200);
      expect(imported.body.items).toEqual([]);
    });

    test('an invalid document is refused with its line, and neither answer nor record shows its content', async () => {
      const before = await rows();
      const content = {
        dotenv: "a=b\ncanary-c='canary",
        json: '{"a":"b",\n"canary":canary}',
        yaml: 'a: b\ncanary: [canary]',
      };
      const answer = await importing('source', content[format], { format }).expect(400);
      expect(answer.body.detail).toMatch(/^the document: line 2: /);
      expect(answer.body.errors).toEqual([{ path: 'body.content', message: expect.stringMatching(/^line 2: /) }]);
      const records = await recordsOf(system, answer);
      expect(records).toMatchObject([{ action: 'secret.import', decision: 'deny', reason: 'invalid_request' }]);
      expect(answer.text + JSON.stringify(records)).not.toContain('canary');
      expect(await rows()).toEqual(before);
    });
  });

  test('every secret that is written or released has its record, after one record of the whole', async () => {
    await alice.createVault('counted');
    const whole = {
      resource: { vault: 'counted', vaultId: expect.any(String) as never, count: 3 },
      rule: 'grant:owner',
    };
    const written = (name: string, version: number) => ({
      action: 'secret.write',
      ...one(name, version),
      ciphertextSha256: expect.any(String) as never,
    });

    const first = await importing('counted', 'a=1\nb=2\nc=3').expect(200);
    await expectRecords(
      system,
      first,
      { action: 'secret.import', decision: 'allow', ...whole },
      ...['a', 'b', 'c'].map((name) => written(name, 1)),
    );
    const second = await importing('counted', 'a=1\nb=3\nc=4').expect(200);
    await expectRecords(
      system,
      second,
      { action: 'secret.import', ...whole },
      { action: 'secret.write', reason: 'unchanged', ...one('a', 1) },
      ...['b', 'c'].map((name) => written(name, 2)),
    );
    const shown = await exporting('counted').expect(200);
    await expectRecords(
      system,
      shown,
      { action: 'secret.export', decision: 'allow', ...whole },
      { action: 'secret.read', dekVersion: 1, ...one('a', 1) },
      { action: 'secret.read', dekVersion: 1, ...one('b', 2) },
      { action: 'secret.read', dekVersion: 1, ...one('c', 2) },
    );
    const [entry] = await (await system.as('admin')).auditEntries({ action: 'secret.export', vault: 'counted' });
    expect(shown.headers['cardea-receipt']).toMatch(`seq=${entry!.seq} `);
    expect(await trail(system, 'counted')).toHaveLength(12);
  });

  test('an import keeps metadata, and versions up to the limit, as a put does', async () => {
    await alice.createVault('kept');
    await alice.put(at('kept', 'a'), { value: '1', metadata: { team: 'core' }, maxVersions: 1 }).expect(201);
    const answer = await importing('kept', 'a=2').expect(200);
    expect(answer.body.items).toEqual([{ name: 'a', result: 'updated', version: 2 }]);
    expect((await alice.get(at('kept', 'a')).expect(200)).body).toMatchObject({
      value: '2',
      metadata: { team: 'core' },
    });
    await alice.get(`${at('kept', 'a')}?version=1`).expect(404);
    const actions = (await recordsOf(system, answer)).map(({ action }) => action);
    expect(actions).toEqual(['secret.import', 'secret.write', 'secret.destroy']);
  });

  test('expired, trashed and destroyed values are not exported', async () => {
    await fill('gone', {
      ended: { value: CANARY },
      trashed: { value: CANARY },
      destroyed: { value: CANARY },
      stays: { value: 'x' },
    });
    await alice.patch(at('gone', 'ended'), { ttlSeconds: 1 }).expect(200);
    await alice.delete(at('gone', 'trashed')).expect(204);
    await alice.post(`${at('gone', 'destroyed')}:destroy`, { versions: [1] }).expect(200);
    system.passTime(2_000);
    await system.as('alice');
    const answer = await exporting('gone').expect(200);
    expect(answer.body).toEqual({ format: 'json', content: '{\n  "stays": "x"\n}\n', count: 1 });
    expect(await recordsOf(system, answer)).toHaveLength(2);
    const { body } = await importing('gone', 'trashed=y\nended=y\ndestroyed=y', { dryRun: true }).expect(200);
    expect((body.items as { result: string }[]).map(({ result }) => result)).toEqual(['created', 'updated', 'updated']);
  });

  describe('a dry run', () => {
    const document = 'same=x\nother=y\nnew=z\nbad name=1';

    test('says the result of each secret, changes nothing, and has one record', async () => {
      await fill('dry', { same: { value: 'x' }, other: { value: 'x' } });
      const before = await rows();
      const content = `same=x\nother=y\nnew=z\nb:d=1\nbig=${'x'.repeat(SECRET_BYTES_MAX + 1)}`;
      const answer = await importing('dry', content, { dryRun: true }).expect(200);
      expect(answer.body).toEqual({
        dryRun: true,
        items: [
          { name: 'same', result: 'updated' },
          { name: 'other', result: 'updated' },
          { name: 'new', result: 'created' },
          { name: 'b:d', result: 'refused', reason: expect.stringMatching(/^name: must be segments/) },
          { name: 'big', result: 'refused', reason: `value: is larger than ${SECRET_BYTES_MAX} bytes` },
        ],
      });
      expect(await rows()).toEqual(before);
      await expectRecords(system, answer, {
        action: 'secret.import',
        decision: 'allow',
        reason: 'dry run',
        resource: { vault: 'dry', vaultId: expect.any(String) as never, count: 5 },
      });
    });

    test('does not help to guess a value, for any caller', async () => {
      const ci = await newApplication(system, 'guesser');
      for (const secrets of [['write'], ['read', 'write'], ['list', 'read', 'write']]) {
        await grant(alice, 'dry', 'application:guesser', { secrets });
        await expectNothingTold(ci);
      }
      for (const one of [alice, await system.as('admin')]) await expectNothingTold(one);
    });

    if (system.profile === 'full') {
      test('does not wait for running writes, and the import itself does', async () => {
        await fill('awaited', { a: { value: 'x' } });
        const [db, observer] = [system.openDatabase(), system.openDatabase()];
        const isWaiting = async () => {
          const [row] = await observer.query<{ n: number }>(
            `select count(*) as n
               from pg_locks
              where locktype = 'advisory'
                and database = (select oid from pg_database where datname = current_database())
                and not granted`,
          );
          return row!.n > 0;
        };
        const seen = { status: 0, waited: false };
        let answering: Promise<void> | undefined;
        const { body: vault } = await alice.get('/vaults/awaited').expect(200);
        await db.lockingTransaction({ shared: [vaultLock(vault.id as string)] }, async () => {
          await importing('awaited', 'a=y', { dryRun: true }).expect(200);
          answering = importing('awaited', 'a=y').then(({ status }) => void (seen.status = status));
          while (seen.status === 0 && !seen.waited) seen.waited = await isWaiting();
        });
        await answering;
        expect(seen).toEqual({ status: 200, waited: true });
        for (const one of [db, observer]) await one.close();
      });
    }

    test('of an invalid document is refused like the import itself', async () => {
      const { body } = await importing('dry', document, { dryRun: true }).expect(400);
      expect(body.detail).toBe('the document: line 4: is not NAME=value');
    });
  });

  test('if one secret is refused nothing is written, and the answer names the line of each', async () => {
    await fill('refused', { a: { value: '1' } });
    const before = await rows();
    const loop = JSON.stringify({
      loop: { encoding: 'utf8', contentType: REFERENCE_TYPE, value: '{"$ref":{"vault":"refused","name":"loop"}}' },
    });
    const lines = [
      '{"a":"2",',
      '"../b":"x",',
      `"big":"${'x'.repeat(SECRET_BYTES_MAX + 1)}",`,
      `${loop.slice(1, -1)},`,
      '".":"y"}',
    ];
    const answer = await importing('refused', lines.join('\n'), { format: 'json' }).expect(400);
    expect(answer.body).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringMatching(/^nothing was written: line 2: name: /),
    });
    expect(answer.body.errors).toEqual([
      { path: 'body.content', message: expect.stringMatching(/^line 2: name: must be segments/) },
      { path: 'body.content', message: `line 3: value: is larger than ${SECRET_BYTES_MAX} bytes` },
      { path: 'body.content', message: 'line 4: value: the reference leads back to the secret itself' },
      { path: 'body.content', message: expect.stringMatching(/^line 5: name: must be segments/) },
    ]);
    expect(await rows()).toEqual(before);
    await expectRecords(system, answer, { action: 'secret.import', decision: 'deny', reason: 'invalid_request' });
  });

  test('a document may have the documented size, and no more', async () => {
    const note = `# ${'\n'.repeat(DOCUMENT_BYTES_MAX - 2)}`;
    await importing('source', note, { dryRun: true }).expect(200);
    for (const [content, detail] of [
      [`${note}\n`, `body.content: is larger than ${DOCUMENT_BYTES_MAX} bytes`],
      ['é'.repeat(DOCUMENT_BYTES_MAX / 2 + 1), `body.content: is larger than ${DOCUMENT_BYTES_MAX} bytes`],
      ['x'.repeat(DOCUMENT_BODY_BYTES_MAX), `the body is larger than ${DOCUMENT_BODY_BYTES_MAX} bytes`],
    ] as const) {
      const { body } = await importing('source', content, { dryRun: true }).expect(413);
      expect([body.code, body.detail]).toEqual(['too_large', detail]);
    }
    await alice.put(at('source', 'pem'), { value: 'x'.repeat(200_000) }).expect(413);
  });

  // A large one is read in a thread.
  test.each([
    ['dotenv', (name: string, value: string) => `${name}='${value}'`, ['', '']],
    ['json', (name: string, value: string) => `"${name}": "${value}",`, ['{', '"last": "x"}']],
    ['yaml', (name: string, value: string) => `${name}: "${value}"`, ['', '']],
  ] as const)(
    'a large document in %s is read like a small one, and its error names the line',
    async (format, line, ends) => {
      await alice.createVault(`thread-${format}`);
      const values = Array.from({ length: 200 }, (_, n) => `${n} é `.padEnd(1_000, 'x'));
      const lines = values.map((value, n) => line(`k${n}`, value));
      const content = (middle: string[]) => [ends[0], ...middle, ends[1]].join('\n');
      await importing(`thread-${format}`, content(lines), { format }).expect(200);
      for (const n of [0, 199]) expect(await alice.readSecret(`thread-${format}`, `k${n}`)).toBe(values[n]);
      const twice = await importing(`thread-${format}`, content([...lines, lines[0]!]), { format }).expect(400);
      expect(twice.body.errors).toEqual([
        { path: 'body.content', message: 'line 202: repeats a name of the document' },
      ]);
      await expectRecords(system, twice, { action: 'secret.import', decision: 'deny', reason: 'invalid_request' });
    },
  );

  test(`${BULK_MAX} secrets are written and released at once, and not one more`, async () => {
    await alice.createVault('many');
    const lines = Array.from({ length: BULK_MAX }, (_, i) => `many/${String(i).padStart(4, '0')}=value ${i}`);
    const { body: one } = await importing('many', [...lines, 'z=1'].join('\n')).expect(413);
    expect(one.detail).toBe(`the document has more than ${BULK_MAX} secrets: import it in parts`);
    expect(await namesIn(alice, 'many')).toEqual([]);
    const before = await countRecords(system);
    await importing('many', lines.join('\n')).expect(200);
    const shown = await exporting('many', { format: 'dotenv' }).expect(200);
    expect(shown.body.content).toBe(`${lines.map((line) => line.replace('=', "='").replace(/$/, "'")).join('\n')}\n`);
    expect((await countRecords(system)) - before).toBeGreaterThanOrEqual(2 * (BULK_MAX + 1));

    await alice.putSecret('many', 'z', '1');
    const { body } = await exporting('many').expect(413);
    expect(body.detail).toBe(`more than ${BULK_MAX} secrets: export a prefix at a time`);
    expect((await exporting('many', { format: 'json', prefix: 'many' }).expect(200)).body.count).toBe(BULK_MAX);
  });

  test('an export larger than the limit of an import is refused, and not recorded as read', async () => {
    const value = { value: Buffer.alloc(SECRET_BYTES_MAX).toString('base64'), encoding: 'base64' };
    await alice.createVault('large');
    const document = (from: number, to: number) =>
      JSON.stringify(Object.fromEntries(Array.from({ length: to - from }, (_, i) => [`s${from + i}`, value])));
    await importing('large', document(0, 250), { format: 'json' }).expect(200);
    await importing('large', document(250, 400), { format: 'json' }).expect(200);
    const answer = await exporting('large').expect(413);
    expect(answer.body.detail).toBe(`more than ${DOCUMENT_BYTES_MAX} bytes: export a prefix at a time`);
    await expectRecords(system, answer, { action: 'secret.export', decision: 'deny', reason: 'too_large' });
  });

  describe('rights:', () => {
    let ci: Stranger;

    beforeAll(async () => {
      await fill('shared', { 'app/a': { value: CANARY }, 'app-2': { value: CANARY }, other: { value: CANARY } });
      ci = await newApplication(system, 'limited');
      await grant(alice, 'shared', 'application:limited', {
        secrets: ['list', 'read', 'write'],
        pathPrefix: 'app',
      }).expect(201);
    });

    test('a grant of a path shows what is below it for any prefix, and nothing else', async () => {
      for (const [prefix, names] of [
        [undefined, ['app/a']],
        ['app', ['a']],
        ['app/a', ['.']],
        ['app/b', []],
      ] as const) {
        const { body } = await exporting('shared', { format: 'json', prefix }, ci).expect(200);
        expect(Object.keys(JSON.parse(body.content as string) as object)).toEqual(names);
      }
      for (const prefix of ['other', 'app-2', 'ap']) {
        const answer = await exporting('shared', { format: 'json', prefix }, ci).expect(404);
        expect(answer.body.detail).toBe('no such vault or name, or you may not see it');
        const resource = expect.objectContaining({ vault: 'shared', name: prefix }) as never;
        await expectRecords(system, answer, {
          action: 'secret.export',
          decision: 'deny',
          rule: 'grant:path',
          resource,
        });
      }
    });

    test('a grant of a path writes below it, either a whole document or nothing', async () => {
      await importing('shared', 'app/b=1\napp=2', {}, ci).expect(200);
      await importing('shared', 'c=1', { prefix: 'app' }, ci).expect(200);
      const before = await rows();
      for (const [content, options] of [
        ['app/d=1\nother=2', {}],
        ['app/d=1\nnone=2', { dryRun: true }],
        ['x=2', { prefix: 'app-2' }],
      ] as const) {
        const answer = await importing('shared', content, options, ci).expect(404);
        expect(answer.body.detail).toMatch(/^(other|none|app-2\/x): no such vault or name, or you may not see it$/);
        const resource = expect.objectContaining({ name: (answer.body.detail as string).split(':')[0] }) as never;
        await expectRecords(system, answer, {
          action: 'secret.import',
          decision: 'deny',
          rule: 'grant:path',
          resource,
        });
      }
      expect(await rows()).toEqual(before);
    });

    test('the right to read gives no writes, the right to write no reads, and oversight has neither', async () => {
      const reader = await newApplication(system, 'reader');
      const writer = await newApplication(system, 'writer');
      await grant(alice, 'shared', 'application:reader', { secrets: ['list', 'read'] }).expect(201);
      await grant(alice, 'shared', 'application:writer', { secrets: ['write', 'delete'] }).expect(201);
      const unlisted = await newApplication(system, 'unlisted');
      await grant(alice, 'shared', 'application:unlisted', { secrets: ['read'] }).expect(201);
      const before = await rows();
      for (const answer of [
        await importing('shared', 'other=1', {}, reader).expect(403),
        await importing('shared', '', { dryRun: true }, reader).expect(403),
        await exporting('shared', { format: 'json' }, writer).expect(403),
        // The caller may not see names.
        await exporting('shared', { format: 'json' }, unlisted).expect(403),
        await exporting('shared', { format: 'json', prefix: 'app' }, unlisted).expect(403),
        await importing('shared', 'other=1', {}, await system.as('carla')).expect(403),
        await exporting('shared', { format: 'json' }, await system.as('carla')).expect(403),
        await importing('shared', 'other=1', {}, await system.as('bob')).expect(404),
        await exporting('shared', { format: 'json' }, await system.as('bob')).expect(404),
      ]) {
        expect(answer.text).not.toContain('canary');
        expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', resource: { vault: 'shared' } }]);
      }
      expect(await rows()).toEqual(before);
      expect((await exporting('shared', { format: 'json' }, reader).expect(200)).body.count).toBe(6);
      await importing('shared', 'other=1', {}, writer).expect(200);
    });
  });

  test('a row with a changed name is not exported, and the damage is recorded', async () => {
    await fill('tampered', { a: { value: CANARY }, b: { value: 'x' } });
    await query(
      system,
      `update secret set name = 'c' where name = 'a' and vault_id = (select id from vault where name = 'tampered')`,
    );
    const answer = await exporting('tampered').expect(500);
    expect(answer.text).not.toContain('canary');
    await expectRecords(system, answer, { action: 'secret.export', decision: 'deny', suspicious: 'integrity_failure' });
  });

  test('while the audit log does not answer nothing is released and nothing is written', async () => {
    await system.stopService('audit');
    // Nobody knows yet that the log does not answer. Values that were opened are not released.
    const first = await exporting('source').expect(503);
    expect(first.text).not.toContain('canary');
    const before = await rows();
    for (const answer of [
      await exporting('source').expect(503),
      await importing('source', 'db=1').expect(503),
      await importing('source', 'db=1', { dryRun: true }).expect(503),
    ]) {
      expect(answer.text).not.toContain('canary');
      expect(answer.body).not.toHaveProperty('items');
    }
    expect(await rows()).toEqual(before);
    await system.startService('audit');
    await untilAnswers(alice);
    expect((await exporting('source').expect(200)).body.count).toBe(Object.keys(secrets).length);
  });
});

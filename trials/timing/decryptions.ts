import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { mannWhitney, median } from './rank-test.ts';

const DIFFERENCE_MS = 0.1;
const P_MAX = 0.001;
const WARM_UP = 60;
const PLAINTEXT = Buffer.alloc(1_024, 7).toString('base64');

/** A call that is refused: who makes it, of which key, and with what. */
interface Refused {
  token: string;
  key: string;
  body: object;
}

/** Calls that are refused in the same words, by what is wrong with them. The first is what the others are compared with. */
interface Group {
  what: string;
  status: number;
  kinds: Record<string, Refused>;
}

/**
 * Checks that the time of a refused decryption does not tell why it was refused, nor whether a key exists that the caller
 * may not use. False if the median of a kind differs by more than a tenth of a millisecond from that of the first, and the
 * difference is significant.
 */
export async function timeDecryptions(samples: number): Promise<boolean> {
  const system = await createTestSystem('mini');
  try {
    let isEqual = true;
    for (const group of await makeGroups(system))
      isEqual = report(group, await measure(system, group, samples)) && isEqual;
    return isEqual;
  } finally {
    await system[Symbol.asyncDispose]();
  }
}

async function makeGroups(system: TestSystem): Promise<Group[]> {
  const [alice, bob] = [await system.as('alice'), await system.as('bob')];
  await alice.createVault('one');
  await alice.createVault('two');
  const make = (vault: string, name: string, more: object = {}) =>
    alice.post(`/vaults/${vault}/keys`, { name, algorithm: 'aes-256-gcm', ...more }).expect(201);
  await make('one', 'cards');
  await make('one', 'other');
  await make('two', 'cards');
  await make('one', 'chacha', { algorithm: 'chacha20-poly1305' });
  await make('one', 'derived', { derivation: 'hkdf-sha256' });
  const seal = async (vault: string, name: string, more: object = {}): Promise<string> => {
    const answer = await alice
      .post(`/vaults/${vault}/keys/${name}:encrypt`, { plaintextBase64: PLAINTEXT, ...more })
      .expect(200);
    return answer.body.ciphertext as string;
  };
  const disabled = await seal('one', 'cards');
  await alice.post('/vaults/one/keys/cards:rotate').expect(200);
  const retired = await seal('one', 'cards');
  await alice.post('/vaults/one/keys/cards:rotate').expect(200);
  await alice.patch('/vaults/one/keys/cards/versions/1', { state: 'disabled' }).expect(200);
  const good = await seal('one', 'cards');
  const of = (ciphertext: string, more: object = {}): Refused => ({
    token: alice.token,
    key: 'one/keys/cards',
    body: { ciphertext, ...more },
  });
  const inDerived = (contextBase64: string, ciphertext: string): Refused => ({
    ...of(ciphertext, { contextBase64 }),
    key: 'one/keys/derived',
  });
  const derived = await seal('one', 'derived', { contextBase64: 'QUFB' });
  const asBob = (key: string): Refused => ({ token: bob.token, key, body: { ciphertext: good } });
  return [
    {
      what: 'a ciphertext that does not open',
      status: 400,
      kinds: {
        'a wrong tag': of(withWrongTag(good)),
        'a wrong tag of an older version': of(withWrongTag(retired)),
        'wrong associated data': of(good, { associatedDataBase64: 'QUFB' }),
        'a disabled version': of(disabled),
        'the version of another ciphertext': of(good.replace(':v3:', ':v2:')),
        'no such version': of(good.replace(':v3:', ':v9:')),
        'another key of the vault': of((await seal('one', 'other')).replace(':v1:', ':v3:')),
        'a key of another vault': of((await seal('two', 'cards')).replace(':v1:', ':v3:')),
        'another algorithm': of((await seal('one', 'chacha')).replace(':v1:', ':v3:')),
      },
    },
    {
      what: 'a ciphertext of a derived key that does not open',
      status: 400,
      kinds: {
        'a wrong tag': inDerived('QUFB', withWrongTag(derived)),
        'another context': inDerived('QkJC', derived),
      },
    },
    {
      what: 'a key that the caller may not see',
      status: 404,
      kinds: {
        'a key': asBob('one/keys/cards'),
        'no such key': asBob('one/keys/card5'),
        'no such vault': asBob('0ne/keys/cards'),
      },
    },
  ];
}

function withWrongTag(ciphertext: string): string {
  const at = ciphertext.lastIndexOf(':') + 1;
  const bytes = Buffer.from(ciphertext.slice(at), 'base64');
  bytes[bytes.length - 1]! ^= 1;
  return ciphertext.slice(0, at) + bytes.toString('base64');
}

async function measure(
  system: TestSystem,
  { kinds, status }: Group,
  samples: number,
): Promise<Record<string, number[]>> {
  const names = Object.keys(kinds);
  const times: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let at = 0; at < WARM_UP + samples; at += 1) {
    // In turns and in another order each time, so that other work on this machine affects all.
    for (const name of shuffled(names)) {
      const took = await timeOf(system, kinds[name]!, status);
      if (at >= WARM_UP) times[name]!.push(took);
    }
  }
  return times;
}

function shuffled<T>(items: T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item);
}

/** Milliseconds from the request to the whole answer. @throws Error if the answer has another status */
async function timeOf(system: TestSystem, { token, key, body }: Refused, status: number): Promise<number> {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
  const began = performance.now();
  const answer = await fetch(`${system.url}/api/v1/vaults/${key}:decrypt`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  await answer.text();
  const took = performance.now() - began;
  if (answer.status !== status) throw new Error(`a decryption was answered ${answer.status}, not ${status}`);
  return took;
}

/** Prints the figures. Returns false if a kind can be told from the first. */
function report({ what }: Group, times: Record<string, number[]>): boolean {
  const [[firstName, first], ...others] = Object.entries(times) as [[string, number[]], ...[string, number[]][]];
  const lines = [`${what}, ${first.length} of each kind: median, difference, Mann-Whitney U test`];
  lines.push(`  ${firstName.padEnd(36)} ${median(first).toFixed(3)} ms`);
  let isEqual = true;
  for (const [name, kind] of others) {
    const difference = median(kind) - median(first);
    const { p } = mannWhitney(kind, first);
    const differs = Math.abs(difference) > DIFFERENCE_MS && p < P_MAX;
    isEqual &&= !differs;
    const figures = `${median(kind).toFixed(3)} ms  ${difference.toFixed(3).padStart(6)} ms  p = ${p.toPrecision(3)}`;
    lines.push(`  ${name.padEnd(36)} ${figures}${differs ? '  FAILED: it can be told apart' : ''}`);
  }
  lines.push(isEqual ? 'ok: they cannot be told apart' : 'FAILED', '');
  process.stdout.write(lines.join('\n'));
  return isEqual;
}

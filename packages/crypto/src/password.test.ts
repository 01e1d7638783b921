import { argon2Sync } from 'node:crypto';
import { describe, expect, jest, test } from '@jest/globals';
import {
  PASSWORD_WAIT_MS,
  PasswordQueueFull,
  createPasswordHasher,
  defaultPasswordCost,
  derivePassphraseKey,
  passphraseCost,
} from './password.ts';

const cheap = { memoryKib: 256, passes: 2, parallelism: 1 };
const roomy = { concurrent: 2, queued: 8 };
const hasher = createPasswordHasher(cheap, roomy);
const text = (value: Uint8Array) => Buffer.from(value).toString('hex');

describe('Argon2id', () => {
  // From the test program of the reference implementation. The vector of RFC 9106 section 5.3 needs associated data,
  // which this library does not accept.
  test.each([
    '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc',
  ])('gives the published answer %s', async (phc) => {
    expect(await hasher.verify(phc, 'password')).toBe(true);
    expect(await hasher.verify(phc, 'Password')).toBe(false);
  });

  test('derives the same bytes from a passphrase as another implementation', async () => {
    const salt = Buffer.alloc(16, 7);
    const other = argon2Sync('argon2id', {
      message: Buffer.from('a passphrase'),
      nonce: salt,
      parallelism: 1,
      tagLength: 32,
      memory: 256,
      passes: 2,
    });
    const derived = await derivePassphraseKey('a passphrase', salt, cheap);
    expect(text(derived)).toBe(text(other));
    expect(derived).toHaveLength(32);
  });

  test('in the other implementation gives the result of RFC 9106 section 5.3', () => {
    const tag = argon2Sync('argon2id', {
      message: Buffer.alloc(32, 1),
      nonce: Buffer.alloc(16, 2),
      secret: Buffer.alloc(8, 3),
      associatedData: Buffer.alloc(12, 4),
      parallelism: 4,
      tagLength: 32,
      memory: 32,
      passes: 3,
    });
    expect(text(tag)).toBe('0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659');
  });

  test('refuses a salt of less than 16 bytes', async () => {
    await expect(derivePassphraseKey('a', new Uint8Array(15), cheap)).rejects.toThrow(RangeError);
  });

  test('has the cost of the design by default', () => {
    expect(defaultPasswordCost).toEqual({ memoryKib: 64 * 1024, passes: 3, parallelism: 1 });
    expect(passphraseCost).toEqual({ memoryKib: 256 * 1024, passes: 3, parallelism: 1 });
  });
});

describe('a password', () => {
  test('is stored as Argon2id at the given cost, with a new salt each time', async () => {
    const [first, second] = await Promise.all([hasher.hash('correct horse'), hasher.hash('correct horse')]);
    expect(first).toMatch(/^\$argon2id\$v=19\$m=256,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(first).not.toBe(second);
    expect(await hasher.verify(first, 'correct horse')).toBe(true);
    expect(await hasher.verify(first, 'correct horse ')).toBe(false);
  });

  test('is the same in every Unicode composition of its letters', async () => {
    const phc = await hasher.hash('caf\u00e9 \uff11');
    expect(await hasher.verify(phc, 'cafe\u0301 1')).toBe(true);
    const salt = new Uint8Array(16);
    expect(text(await derivePassphraseKey('\u00e9', salt, cheap))).toBe(
      text(await derivePassphraseKey('e\u0301', salt, cheap)),
    );
  });

  test('of an unknown user is never right and takes the same work', async () => {
    expect(await hasher.verify(undefined, '')).toBe(false);
    const slow = createPasswordHasher({ memoryKib: 32_768, passes: 3, parallelism: 1 }, roomy);
    const phc = await slow.hash('a');
    const real = await cpuOf(() => slow.verify(phc, 'b'));
    const decoy = await cpuOf(() => slow.verify(undefined, 'b'));
    expect(decoy).toBeGreaterThan(real / 4);
    expect(decoy).toBeLessThan(real * 4);
  });

  test('is hashed again if the cost or the algorithm has changed', async () => {
    const phc = await hasher.hash('a');
    expect(hasher.needsRehash(phc)).toBe(false);
    for (const other of [{ memoryKib: 512 }, { passes: 3 }, { parallelism: 2 }]) {
      expect(createPasswordHasher({ ...cheap, ...other }, roomy).needsRehash(phc)).toBe(true);
    }
    expect(hasher.needsRehash(phc.replace('argon2id', 'argon2i'))).toBe(true);
    expect(hasher.needsRehash(phc.replace('v=19', 'v=16'))).toBe(true);
  });

  test('against a malformed hash is an error, not a wrong password', async () => {
    await expect(hasher.verify('plain', 'plain')).rejects.toMatchObject({ message: expect.any(String) });
  });
});

describe('the queue', () => {
  test('refuses a password while it is full, and accepts the next once there is room', async () => {
    const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 2 });
    for (let round = 0; round < 3; round++) {
      const taken = [narrow.hash('1'), narrow.hash('2'), narrow.verify(undefined, '3')];
      await expect(narrow.hash('4')).rejects.toThrow(PasswordQueueFull);
      await expect(narrow.verify(undefined, '5')).rejects.toThrow(PasswordQueueFull);
      expect(await Promise.all(taken)).toHaveLength(3);
    }
  });

  test('refuses a caller who has half of the places, and still takes passwords of others', async () => {
    const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 4 });
    const taken = ['1', '2', '3'].map((password) => narrow.hash(password, { from: 'one' }));
    await expect(narrow.hash('4', { from: 'one' })).rejects.toMatchObject({
      name: 'PasswordQueueFull',
      isOwnShare: true,
    });
    taken.push(narrow.hash('5', { from: 'other' }), narrow.hash('6'));
    await expect(narrow.hash('7', { from: 'other' })).rejects.toMatchObject({ isOwnShare: false });
    expect(await Promise.all(taken)).toHaveLength(5);
  });

  test('lets who is known go before strangers, however many of them wait', async () => {
    const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 2 });
    const done: string[] = [];
    const verify = (name: string, turn: 'first' | 'last') =>
      narrow.verify(undefined, name, { turn }).then(() => void done.push(name));
    const taken = [verify('running', 'last'), verify('stranger 1', 'last'), verify('stranger 2', 'last')];
    await expect(narrow.verify(undefined, 'stranger 3', { turn: 'last' })).rejects.toThrow(PasswordQueueFull);
    await Promise.all([...taken, verify('known', 'first')]);
    expect(done).toEqual(['running', 'known', 'stranger 1', 'stranger 2']);
  });

  test('gives every fourth place to a stranger, however many known callers wait', async () => {
    const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 8 });
    const done: string[] = [];
    const verify = (name: string, turn: 'first' | 'last') =>
      narrow.verify(undefined, name, { from: name, turn }).then(() => void done.push(name));
    const known = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => verify(name, 'first'));
    await Promise.all([...known, verify('stranger', 'last')]);
    expect(done).toEqual(['a', 'b', 'c', 'd', 'stranger', 'e', 'f']);
  });

  test('lets callers who have no password under way go before another of one who has', async () => {
    const two = createPasswordHasher({ memoryKib: 8_192, passes: 3, parallelism: 1 }, { concurrent: 2, queued: 32 });
    const done: string[] = [];
    const verify = (from: string, turn: 'first' | 'last') =>
      two.verify(undefined, 'x', { from, turn }).then(() => void done.push(from));
    const taken = Array.from({ length: 18 }, () => verify('one', 'first'));
    await Promise.all([...taken, verify('stranger', 'last')]);
    // Two of `one` run at once, because nobody else was there. The place of the first that ends is the stranger's, who may
    // take longer than some of the others.
    expect(done.indexOf('stranger')).toBeLessThan(16);
  });

  test('refuses a password that has waited for too long', async () => {
    jest.useFakeTimers();
    try {
      const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 2 });
      const running = narrow.hash('1');
      const late = narrow.hash('2');
      jest.advanceTimersByTime(PASSWORD_WAIT_MS);
      await expect(late).rejects.toMatchObject({ name: 'PasswordQueueFull', isOwnShare: false });
      await running;
      expect(await narrow.hash('3')).toMatch(/^\$argon2id\$/);
    } finally {
      jest.useRealTimers();
    }
  });

  test('gives the place of a failed password to the next', async () => {
    const narrow = createPasswordHasher(cheap, { concurrent: 1, queued: 1 });
    const [failed, next] = await Promise.allSettled([narrow.verify('plain', 'a'), narrow.hash('b')]);
    expect([failed.status, next.status]).toEqual(['rejected', 'fulfilled']);
    expect(await narrow.hash('c')).toMatch(/^\$argon2id\$/);
  });
});

// The smaller of two runs, in microseconds of this process, so that other programs matter little.
async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const costs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = process.cpuUsage();
    await work();
    const used = process.cpuUsage(start);
    costs.push(used.user + used.system);
  }
  return Math.min(...costs);
}

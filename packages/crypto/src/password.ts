import { randomBytes } from 'node:crypto';
import { hash, hashRaw, parseOptions, verify } from '@node-rs/argon2';

/** The cost of one Argon2id hash, RFC 9106. */
export interface PasswordCost {
  memoryKib: number;
  passes: number;
  parallelism: number;
}

/** Hashes the passwords of people. `hash` and `verify` reject with PasswordQueueFull if too many passwords wait. */
export interface PasswordHasher {
  /** Returns a PHC string with a random salt of 16 bytes. */
  hash(password: string): Promise<string>;
  /** Without a hash, as for an unknown user, it does the same work and returns false. */
  verify(phc: string | undefined, password: string): Promise<boolean>;
  /** True if the hash was made with another cost or algorithm than today's. */
  needsRehash(phc: string): boolean;
}

/** The cost for people who sign in: about 0.1 s of one core. */
export const defaultPasswordCost: PasswordCost = { memoryKib: 65_536, passes: 3, parallelism: 1 };

/** The cost for the passphrase of a seal, which is needed once for each start. */
export const passphraseCost: PasswordCost = { memoryKib: 262_144, passes: 3, parallelism: 1 };

/** Too many passwords wait. The client must try again later, so that memory does not run out. */
export class PasswordQueueFull extends Error {
  override name = 'PasswordQueueFull';
}

const ARGON2ID = 2;
const VERSION_0X13 = 1;
const HASH_BYTES = 32;
const SALT_BYTES = 16;

/**
 * Hashes with Argon2id, `concurrent` at a time, each in `memoryKib` of memory on a thread of libuv. `queued` more may
 * wait. Passwords are compared in NFKC, because keyboards send the same letter in different forms.
 */
export function createPasswordHasher(
  cost: PasswordCost,
  limits: { concurrent: number; queued: number },
): PasswordHasher {
  const inTurn = createTurnstile(limits);
  const options = argon2Options(cost);
  const decoy = decoyHash(cost);

  return {
    hash: (password) => inTurn(() => hash(normalized(password), options)),
    async verify(phc, password) {
      const matches = await inTurn(() => verify(phc ?? decoy, normalized(password)));
      return phc !== undefined && matches;
    },
    needsRehash: (phc) => !isMadeAt(phc, cost),
  };
}

/** Derives 32 bytes with Argon2id from a passphrase in NFKC. `salt` has at least 16 bytes and must be stored. */
export async function derivePassphraseKey(
  passphrase: string,
  salt: Uint8Array,
  cost: PasswordCost,
): Promise<Uint8Array> {
  if (salt.length < SALT_BYTES) throw new RangeError(`a salt has at least ${SALT_BYTES} bytes`);
  return hashRaw(normalized(passphrase), { ...argon2Options(cost), salt });
}

function createTurnstile(limits: { concurrent: number; queued: number }) {
  const waiting: (() => void)[] = [];
  let running = 0;

  return async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running < limits.concurrent) running++;
    else if (waiting.length < limits.queued) await new Promise<void>((resolve) => waiting.push(resolve));
    else throw new PasswordQueueFull('too many passwords are waiting to be checked');
    try {
      return await work();
    } finally {
      // The place goes directly to the next password, so that no newer one can take it.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

function argon2Options(cost: PasswordCost) {
  return {
    algorithm: ARGON2ID,
    version: VERSION_0X13,
    memoryCost: cost.memoryKib,
    timeCost: cost.passes,
    parallelism: cost.parallelism,
    outputLen: HASH_BYTES,
  } as const;
}

// A random hash: no known password matches it, and checking it costs as much as a real one.
function decoyHash(cost: PasswordCost): string {
  const [salt, result] = [randomBytes(SALT_BYTES), randomBytes(HASH_BYTES)].map(unpaddedBase64);
  return `$argon2id$v=19$m=${cost.memoryKib},t=${cost.passes},p=${cost.parallelism}$${salt}$${result}`;
}

function unpaddedBase64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}

function isMadeAt(phc: string, cost: PasswordCost): boolean {
  const made = parseOptions(phc);
  const today = argon2Options(cost);
  return (Object.keys(today) as (keyof typeof today)[]).every((name) => Object.is(made[name], today[name]));
}

function normalized(password: string): string {
  return password.normalize('NFKC');
}

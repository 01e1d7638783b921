import { randomBytes } from 'node:crypto';
import { hash, hashRaw, parseOptions, verify } from '@node-rs/argon2';

/** The cost of one Argon2id hash, RFC 9106. */
export interface PasswordCost {
  memoryKib: number;
  passes: number;
  parallelism: number;
}

/**
 * A known user goes `first`: a crowd of strangers, who go `last`, cannot keep them waiting. Every fourth place is
 * for strangers, and a caller who has a password under way waits for all who have none: nobody can keep strangers out.
 */
export type Turn = 'first' | 'last';

/** Who waits in the queue: the key of the caller, and their turn (`first` by default). */
export interface Waiter {
  from?: string;
  turn?: Turn;
}

/**
 * Hashes the passwords of people. `hash` and `verify` reject with PasswordQueueFull if too many passwords wait, and
 * after a wait of `PASSWORD_WAIT_MS`. Half of the places of a turn, at most, are for passwords of one caller.
 */
export interface PasswordHasher {
  /** Returns a PHC string with a random salt of 16 bytes. */
  hash(password: string, by?: Waiter): Promise<string>;
  /** Without a hash, as for an unknown user, it does the same work and returns false. */
  verify(phc: string | undefined, password: string, by?: Waiter): Promise<boolean>;
  /** True if the hash was made with another cost or algorithm than today's. */
  needsRehash(phc: string): boolean;
}

/** The cost for people who sign in: about 0.1 s of one core. */
export const defaultPasswordCost: PasswordCost = { memoryKib: 65_536, passes: 3, parallelism: 1 };

/** The cost for the passphrase of a seal, which is needed once for each start. */
export const passphraseCost: PasswordCost = { memoryKib: 262_144, passes: 3, parallelism: 1 };

/** How long a password waits for its turn at most. Clients and proxies give up after such a time. */
export const PASSWORD_WAIT_MS = 20_000;

/** Too many passwords wait. The client must try again later, so that memory does not run out. */
export class PasswordQueueFull extends Error {
  override name = 'PasswordQueueFull';
  /** True if others may still add passwords. */
  readonly isOwnShare: boolean;

  constructor(isOwnShare: boolean) {
    super('too many passwords are waiting to be checked');
    this.isOwnShare = isOwnShare;
  }
}

const ARGON2ID = 2;
const VERSION_0X13 = 1;
const HASH_BYTES = 32;
const SALT_BYTES = 16;

/**
 * Hashes with Argon2id, `concurrent` at a time, each in `memoryKib` of memory on a thread of libuv. `queued` more of each turn
 * may wait. Passwords are compared in NFKC, because keyboards send the same letter in different forms.
 */
export function createPasswordHasher(
  cost: PasswordCost,
  limits: { concurrent: number; queued: number },
): PasswordHasher {
  const inTurn = createTurnstile(limits);
  const options = argon2Options(cost);
  const decoy = decoyHash(cost);

  return {
    hash: (password, by) => inTurn(() => hash(normalized(password), options), by),
    async verify(phc, password, by) {
      const matches = await inTurn(() => verify(phc ?? decoy, normalized(password)), by);
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

interface Waiting {
  from: string | undefined;
  enter: () => void;
}

/** Every so many places go to a stranger, if one waits. */
const STRANGERS_EVERY = 4;

function createTurnstile(limits: { concurrent: number; queued: number }) {
  const waiting: Record<Turn, Waiting[]> = { first: [], last: [] };
  const ofOneMax = Math.ceil(limits.queued / 2);
  const running: (string | undefined)[] = [];
  let sinceStranger = 0;

  function wait({ from, turn = 'first' }: Waiter): Promise<void> {
    const queue = waiting[turn];
    if (queue.length >= limits.queued) throw new PasswordQueueFull(false);
    const ofOne = from === undefined ? 0 : queue.filter((other) => other.from === from).length;
    if (ofOne >= ofOneMax) throw new PasswordQueueFull(true);
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        queue.splice(queue.indexOf(own), 1);
        reject(new PasswordQueueFull(false));
      }, PASSWORD_WAIT_MS);
      const enter = () => {
        clearTimeout(deadline);
        resolve();
      };
      const own = { from, enter };
      queue.push(own);
    });
  }

  function takeNext(): Waiting | undefined {
    const order: Turn[] = sinceStranger + 1 >= STRANGERS_EVERY ? ['last', 'first'] : ['first', 'last'];
    const isNew = ({ from }: Waiting) => from === undefined || !running.includes(from);
    const turn = order.find((one) => waiting[one].some(isNew)) ?? order.find((one) => waiting[one].length > 0);
    if (turn === undefined) return undefined;
    sinceStranger = turn === 'last' ? 0 : sinceStranger + 1;
    const queue = waiting[turn];
    return queue.splice(Math.max(queue.findIndex(isNew), 0), 1)[0];
  }

  return async function inTurn<T>(work: () => Promise<T>, by: Waiter = {}): Promise<T> {
    if (running.length < limits.concurrent) running.push(by.from);
    else await wait(by);
    try {
      return await work();
    } finally {
      // The place goes directly to the next password, so that no newer one can take it.
      const next = takeNext();
      const place = running.indexOf(by.from);
      if (next) {
        running[place] = next.from;
        next.enter();
      } else running.splice(place, 1);
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

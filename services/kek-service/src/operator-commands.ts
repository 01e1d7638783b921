import type { Client } from '@cardea/http/client/peer-client';
import { SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import { seal, sealStatus, unfreezeUnwraps, unseal } from '@cardea/contracts/seal-api';
import { StartError } from '@cardea/process/config';

/** What a command works with. */
export interface Operator {
  /** kek-service, as the operator. */
  kek: Client;
  /** What the operator types, one after the other: shares, or a passphrase. `question` is shown at a terminal. */
  typed(question: string): AsyncIterable<string>;
  print(line: string): void;
}

// A passphrase takes seconds of Argon2id on a small machine, and kek-service takes one at a time.
const UNSEAL_WITHIN_MS = 60 * SECOND_MS;

/** Shows whether the keyring is open, by which seals it opens, the shares that were given, and whose unwraps are frozen. */
export async function showStatus({ kek, print }: Operator): Promise<void> {
  const { sealed, seals, progress, frozen } = await kek.call(sealStatus, {});
  print(sealed ? 'sealed' : 'open');
  for (const { id, type } of seals) {
    const given = progress.find(({ sealId }) => sealId === id);
    print(`seal ${id} ${type}${given ? `: ${given.given} of ${given.needed} shares are given` : ''}`);
  }
  for (const peer of frozen) print(`frozen: ${peer}`);
}

/**
 * Opens the keyring by what the operator types, or proves, if it is open, that this would open it.
 * @throws AppError as kek-service answers; StartError if what was typed was not enough
 */
export async function unsealByTyped({ kek, typed, print }: Operator): Promise<void> {
  const { sealed: wasSealed } = await kek.call(sealStatus, {});
  const done = wasSealed ? 'The keyring is open.' : 'The keyring was open, and this would open it.';
  for await (const text of typed('Passphrase or share (not shown): ')) {
    const body = /^\s*cs1-/i.test(text) ? { share: text } : { passphrase: text };
    const { progress } = await kek.call(unseal, { body, timeoutMs: UNSEAL_WITHIN_MS });
    if (progress === undefined || progress.given >= progress.needed) return print(done);
    print(`${progress.given} of ${progress.needed} shares are given.`);
  }
  throw new StartError(
    'That was not enough: the keyring is as it was, and shares that were given are kept for an hour.',
  );
}

/** Seals kek-service until somebody unseals it. */
export async function sealNow({ kek, print }: Operator): Promise<void> {
  await kek.call(seal, { body: {} });
  print('kek-service is sealed, and the shares that were given are forgotten.');
}

/** Lets a service unwrap again that went beyond its budget. @throws AppError */
export async function unfreeze(
  { kek, print }: Operator,
  what: { peer: 'api-service' | 'worker'; reason: string },
): Promise<void> {
  const { frozen } = await kek.call(sealStatus, {});
  if (!frozen.includes(what.peer)) throw new AppError('conflict', `the unwraps of ${what.peer} are not frozen`);
  await kek.call(unfreezeUnwraps, { body: what });
  print(`${what.peer} may unwrap again.`);
}

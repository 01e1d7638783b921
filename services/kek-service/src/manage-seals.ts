import { changesBetween } from '@cardea/contracts/audit-changes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { sealFields } from '@cardea/contracts/seal-api';
import type { NewSeal as NewSealAnswer, Seal, SealRequest } from '@cardea/contracts/seal-api';
import { StartError } from '@cardea/process/config';
import { changeKeyring } from './change-keyring.ts';
import type { KekContext } from './context.ts';
import { SEALS_MAX } from './keyring/format.ts';
import type { KeyringDocument, SealEntry } from './keyring/format.ts';
import { makeFileSeal, removeSealKey } from './seals/file.ts';
import { enterSeal } from './seals/new-seal.ts';
import type { NewSeal } from './seals/new-seal.ts';
import { makePassphraseSeal } from './seals/passphrase.ts';
import { makeShamirSeal } from './seals/shamir.ts';
import { TokenProblem, makeTokenSeal } from './seals/token.ts';

/**
 * Adds a seal to the open keyring, and answers its shares, if it has any, once.
 * @throws AppError `conflict` if the id is taken, for a second seal by a file, or for one seal too many; `sealed`,
 * `unavailable`
 */
export async function makeSeal(
  ctx: KekContext,
  caller: Caller,
  { id, seal: request }: { id: string; seal: SealRequest },
): Promise<NewSealAnswer> {
  const made = await changeKeyring(ctx, caller, async ({ document }) => {
    refuseSeal(document, { id, type: request.type });
    const fresh = await newSealOf(ctx, id, request);
    // It may have been sealed while the seal was made.
    const { rootKey } = ctx.seal.keyring();
    const entry = enterSeal(fresh, rootKey, { id, createdAt: new Date(ctx.now()).toISOString() });
    const seal = toSeal(entry);
    const value = { ...seal, shareTexts: fresh.shareTexts };
    const facts = additionOf(seal);
    return { value, change: { seals: [...document.seals, entry], facts } };
  });
  // These open it at a start by themselves. An operator proves the others.
  if (made.type === 'file' || made.type === 'pkcs11') ctx.seal.prove(id);
  return made;
}

/**
 * Removes a seal, if another one has opened the keyring since this process started: nobody can lock the keyring up
 * with a seal that does not work, or with one that only they can open.
 * @throws AppError `not_found`; `conflict` for the last seal and while no other one is proven; `sealed`, `unavailable`
 */
export async function dropSeal(ctx: KekContext, caller: Caller, id: string): Promise<void> {
  await changeKeyring(ctx, caller, ({ document: { seals } }) => {
    const entry = seals.find((seal) => seal.id === id);
    if (!entry) throw new AppError('not_found', 'no such seal', { rule: 'no-such-seal' });
    const others = seals.filter((seal) => seal !== entry);
    if (others.length === 0) throw new AppError('conflict', 'a keyring keeps one seal', { rule: 'last-seal' });
    if (!others.some((seal) => ctx.seal.isProven(seal.id))) throw unproven();
    const change = { seals: others, facts: removalOf(toSeal(entry)) };
    if (entry.type !== 'file') return { value: undefined, change };
    // In the turn of the change: later, this would delete the key of a new seal by a file.
    return { value: undefined, change, afterwards: () => removeSealKey(ctx.folder) };
  });
}

/** What is recorded of a new seal. */
export function additionOf(seal: Seal): EventFacts {
  const changes = changesBetween({}, sealFields(seal));
  return { action: 'seal.add', reason: seal.type, changes, resource: { name: seal.id } };
}

/** What is recorded of a seal that is removed. */
export function removalOf(seal: Seal): EventFacts {
  const changes = changesBetween(sealFields(seal), {});
  return { action: 'seal.remove', reason: seal.type, changes, resource: { name: seal.id } };
}

/** What may be told of a seal. */
export function toSeal(entry: SealEntry): Seal {
  const { id, type, createdAt } = entry;
  if (entry.type === 'shamir') {
    return { id, type, createdAt, shares: entry.shareHashesBase64.length, threshold: entry.threshold };
  }
  if (entry.type === 'pkcs11') return { id, type, createdAt, tokenLabel: entry.tokenLabel, keyLabel: entry.keyLabel };
  return { id, type, createdAt };
}

function refuseSeal({ seals }: KeyringDocument, { id, type }: { id: string; type: SealEntry['type'] }): void {
  if (seals.some((seal) => seal.id === id))
    throw new AppError('conflict', 'there is a seal of this id', { rule: 'seal-exists' });
  if (type === 'file' && seals.some((seal) => seal.type === 'file')) {
    throw new AppError('conflict', 'there is a seal by a file: remove it first', { rule: 'seal-exists' });
  }
  if (seals.length >= SEALS_MAX)
    throw new AppError('conflict', `a keyring has at most ${SEALS_MAX} seals`, { rule: 'seal-exists' });
}

async function newSealOf(
  ctx: KekContext,
  id: string,
  request: SealRequest,
): Promise<NewSeal & { shareTexts?: string[] }> {
  if (request.type === 'file') return makeFileSeal(ctx.folder);
  if (request.type === 'passphrase') return makePassphraseSeal(request.passphrase, ctx.passphraseCost);
  if (request.type === 'shamir') return makeShamirSeal(id, request);
  return newTokenSeal(ctx, id, request);
}

async function newTokenSeal(
  { token }: KekContext,
  id: string,
  { tokenLabel, keyLabel }: Extract<SealRequest, { type: 'pkcs11' }>,
): Promise<NewSeal> {
  if (!token) {
    const message = 'no token is configured: set CARDEA_PKCS11_MODULE and CARDEA_PKCS11_PIN_FILE';
    throw new AppError('conflict', message, { rule: 'token-unusable' });
  }
  try {
    return await makeTokenSeal(token, id, { tokenLabel, keyLabel });
  } catch (cause) {
    if (!(cause instanceof TokenProblem || cause instanceof StartError)) throw cause;
    throw new AppError('conflict', cause.message, { cause, rule: 'token-unusable' });
  }
}

function unproven(): AppError {
  return new AppError(
    'conflict',
    'no other seal has opened the keyring since kek-service started: prove one first, by POST /v1/unseal with its ' +
      'passphrase or its shares, or by a restart that it opens',
    { rule: 'last-seal' },
  );
}

import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { StartError } from '@cardea/process/config';
import { failStop } from '@cardea/process/run';
import { untilAdmitted } from './audit.ts';
import type { KekContext } from './context.ts';
import { openKeyring } from './keyring/keyring.ts';
import type { Keyring } from './keyring/keyring.ts';
import { nextGeneration } from './next-generation.ts';
import type { Change } from './next-generation.ts';

/** What a change answers, and what it makes of the keyring. Without a `change` there is nothing to change. */
export interface KeyringChange<T> {
  value: T;
  change?: Change;
  /** Runs in the same turn once the new keyring is written, also if its record has to wait. */
  afterwards?: () => Promise<void>;
}

/**
 * Replaces the keyring by its next generation, one change at a time. The records are part of the new document, so a crash
 * loses neither. Resolves once the audit log has them.
 * @throws AppError `sealed`; `unavailable` before anything is changed, or after the change: then the message says so, and
 * the records are sent later; whatever `work` throws
 */
export async function changeKeyring<T>(
  ctx: KekContext,
  caller: Caller,
  work: (keyring: Keyring) => KeyringChange<T> | Promise<KeyringChange<T>>,
): Promise<T> {
  await untilAdmitted(ctx);
  return ctx.inTurn(async () => {
    const { value, change, afterwards } = await work(ctx.seal.keyring());
    if (change) await replaceKeyring(ctx, caller, change);
    await afterwards?.();
    await ctx.keyringRecords.send();
    return value;
  });
}

async function replaceKeyring(ctx: KekContext, caller: Caller, change: Change): Promise<void> {
  const keyring = ctx.seal.keyring();
  const waiting = ctx.keyringRecords.waiting();
  const document = nextGeneration(keyring, change, { caller, waiting, now: ctx.now() });
  // Opened before it is written: what does not open must not replace what does.
  const opened = openKeyring(keyring.rootKey, document);
  try {
    await ctx.store.replace(keyring.document.generation, document);
  } catch (error) {
    opened.close();
    // Either says that nothing was written.
    if (error instanceof AppError || error instanceof StartError) throw error;
    failStop('The keyring could not be replaced', error);
  }
  ctx.keyringRecords.replaced(document);
  ctx.seal.replace(opened);
}

import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { StartError } from '@cardea/process/config';
import { failStop } from '@cardea/process/run';
import type { KekContext } from './context.ts';
import { RECORDS_MAX } from './keyring/format.ts';
import type { KeyringDocument } from './keyring/format.ts';
import { nextDocument, openKeyring } from './keyring/keyring.ts';
import type { Keyring } from './keyring/keyring.ts';
import { eventOf, replacementEvent } from './records.ts';

/** What a change makes of the keyring, and the record of it beside that of the replacement. */
export interface KeyringChange<T> {
  value: T;
  /** Undefined if there is nothing to change. */
  change?: Partial<Pick<KeyringDocument, 'seals' | 'keks'>> & { facts: Omit<EventFacts, 'decision'> };
}

/**
 * Replaces the keyring by its next generation, one change at a time. The records are part of the new document, so a crash
 * loses neither. Resolves once the audit log has them.
 * @throws AppError `sealed`; `unavailable` before anything is changed, or after the change: then the message says so, and
 * the records are sent later; whatever `work` throws
 */
export function changeKeyring<T>(
  ctx: KekContext,
  caller: Caller,
  work: (keyring: Keyring) => KeyringChange<T>,
): Promise<T> {
  ctx.audit?.admit();
  return ctx.inTurn(async () => {
    const keyring = ctx.seal.keyring();
    const { value, change } = work(keyring);
    if (change) await replaceKeyring(ctx, caller, keyring, change);
    await ctx.keyringRecords.send();
    return value;
  });
}

async function replaceKeyring(
  ctx: KekContext,
  caller: Caller,
  keyring: Keyring,
  { facts, ...contents }: NonNullable<KeyringChange<unknown>['change']>,
): Promise<void> {
  const waiting = ctx.keyringRecords.waiting();
  if (waiting.length > RECORDS_MAX - 2) throw new AppError('unavailable', 'too many records wait for the audit log');

  const now = ctx.now();
  const { generation } = keyring.document;
  const events = [eventOf(caller, { decision: 'allow', ...facts }, now), replacementEvent(caller, generation + 1, now)];
  const document = nextDocument(keyring, contents, [...waiting, ...events]);
  // Opened before it is written: what does not open must not replace what does.
  const opened = openKeyring(keyring.rootKey, document);
  try {
    await ctx.store.replace(generation, document);
  } catch (error) {
    opened.close();
    // Either says that nothing was written.
    if (error instanceof AppError || error instanceof StartError) throw error;
    failStop('The keyring could not be replaced', error);
  }
  ctx.keyringRecords.replaced(document);
  ctx.seal.replace(opened);
}

import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { RECORDS_MAX } from './keyring/format.ts';
import type { KeyringDocument } from './keyring/format.ts';
import { nextDocument } from './keyring/keyring.ts';
import type { Keyring } from './keyring/keyring.ts';
import { eventOf, replacementEvent } from './records.ts';

/** What changes in a keyring, and what is recorded of it. */
export type Change = Partial<Pick<KeyringDocument, 'seals' | 'keks'>> & { facts: EventFacts };

/**
 * The next generation of a keyring. It holds the record of the change and that of the replacement, after those that wait
 * for the audit log. `now` is in milliseconds.
 * @throws AppError `unavailable` if too many records wait
 */
export function nextGeneration(
  keyring: Keyring,
  { facts, ...contents }: Change,
  { caller, waiting, now }: { caller: Caller; waiting: AuditEvent[]; now: number },
): KeyringDocument {
  const events = [eventOf(caller, facts, now), replacementEvent(caller, keyring.document.generation + 1, now)];
  if (waiting.length + events.length > RECORDS_MAX) {
    throw new AppError('unavailable', 'too many records of the keyring wait for the audit log');
  }
  return nextDocument(keyring, contents, [...waiting, ...events]);
}

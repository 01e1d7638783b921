import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';

/** kek-service itself, when nobody called it. */
export const ownCaller: Caller = {
  actor: { id: 'kek-service', type: 'service' },
  source: {},
  requestId: 'start',
};

/** The event of something that is done now. `now` is in milliseconds. */
export function eventOf(caller: Caller, facts: EventFacts, now: number): AuditEvent {
  return toAuditEvent(caller, facts, { id: uuidv7(now), at: now });
}

/** The event of a replacement of the keyring; `recordsOf` adds the hash of the new document. */
export function replacementEvent(caller: Caller, generation: number, now: number): AuditEvent {
  const resource = { name: 'keyring', version: generation };
  return eventOf(caller, { action: 'keyring.replace', decision: 'allow', resource }, now);
}

import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';
import type { Logger } from '@cardea/process/logger';
import { recordsOf } from './keyring/format.ts';
import type { KeyringDocument } from './keyring/format.ts';
import type { KeyringStore } from './keyring/store.ts';

/** Sends the records that a keyring holds. A crash may send them twice; the audit log takes an event once. */
export interface KeyringRecords {
  /** The records that the audit log does not have yet. */
  waiting(): AuditEvent[];
  /** Takes the records of a document that has become the newest. */
  replaced(document: KeyringDocument): void;
  /**
   * Resolves once the audit log has every record that waits now.
   * @throws AppError `unavailable` if it does not answer: then they wait on
   */
  send(): Promise<void>;
}

export function createKeyringRecords(
  { store, audit, logger }: { store: KeyringStore; audit: AuditLog | undefined; logger: Logger },
  start: { document: KeyringDocument; isRecorded: boolean },
): KeyringRecords {
  let newest = start.document;
  let isRecorded = start.isRecorded;

  async function append(event: AuditEvent): Promise<void> {
    const { action, requestId, actor, resource } = event;
    logger.info(action, { requestId, peer: actor.id, ...resource });
    await audit?.append(event);
  }

  return {
    waiting: () => (isRecorded ? [] : recordsOf(newest)),
    replaced(document) {
      newest = document;
      isRecorded = false;
    },
    async send() {
      if (isRecorded) return;
      const document = newest;
      try {
        await Promise.all(recordsOf(document).map(append));
      } catch (cause) {
        if (!(cause instanceof AppError) || cause.code !== 'unavailable') throw cause;
        throw new AppError(
          'unavailable',
          'the change is made, and its record waits for the audit log: repeat the call',
          {
            cause,
            rule: 'record-waits',
          },
        );
      }
      await store.markRecorded(document.generation);
      if (newest === document) isRecorded = true;
    },
  };
}

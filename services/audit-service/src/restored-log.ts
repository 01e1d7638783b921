import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AuditTime } from '@cardea/contracts/audit-event';
import { changesBetween } from '@cardea/contracts/audit-changes';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { readIfThere, replaceFile, syncFolder } from '@cardea/process/durable-file';
import { z } from 'zod';
import { LOG_ITSELF } from './append/log.ts';
import type { AuditStore } from './append/log.ts';
import { toCanonicalEvent } from './append/parse-append.ts';

/** The file beside the log from a restore until the log has the record of it. */
export const RESTORED_LOG = 'restored.json';

const RestoredLog = z.strictObject({
  /** The id of the event, made once: after a crash the log takes the event only if it does not have it. */
  eventId: z.uuid(),
  /** Milliseconds since 1970. */
  at: z.int(),
  /** The account of the operating system that restored. */
  by: z.string().min(1).max(256),
  /** The id of the backup, which both of its archives have. */
  backup: z.string(),
  madeAt: z.iso.datetime(),
  /** The last checkpoint of the backup, a signed note, and how many entries it had beside it. */
  checkpoint: z.string(),
  size: z.int().min(0),
  signedAt: AuditTime,
});
type RestoredLog = z.output<typeof RestoredLog>;

/** Notes for the next start that the log is that of a backup. Resolves once the note survives a power cut. */
export async function noteRestore(folder: string, restored: Omit<RestoredLog, 'eventId'>): Promise<void> {
  const note: RestoredLog = { eventId: uuidv7(restored.at), ...restored };
  await replaceFile(join(folder, RESTORED_LOG), `${JSON.stringify(note, undefined, 2)}\n`, 0o600);
}

/**
 * Records a restore as the first entry after those of the backup: who restored which backup, when, and where the log
 * stood then. What came after that is lost, and who kept a newer checkpoint finds the reason here.
 */
export async function recordRestore(folder: string, log: Pick<AuditStore, 'append'>): Promise<void> {
  const path = join(folder, RESTORED_LOG);
  const content = await readIfThere(path);
  if (content === undefined) return;
  const { eventId: id, at, ...fields } = RestoredLog.parse(JSON.parse(content));
  const actor = { id: 'operator', type: 'service' } as const;
  const changes = changesBetween({}, fields);
  const event = toAuditEvent({ actor }, { action: 'audit.restore', rule: 'restored', changes }, { id, at });
  await log.append([{ event: toCanonicalEvent(event), peer: LOG_ITSELF }]);
  await rm(path);
  await syncFolder(folder);
}

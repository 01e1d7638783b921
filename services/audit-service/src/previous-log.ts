import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { changesBetween } from '@cardea/contracts/audit-changes';
import { Base64 } from '@cardea/contracts/names';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { StartError } from '@cardea/process/config';
import { readIfThere } from '@cardea/process/durable-file';
import { z } from 'zod';
import { LOG_ITSELF } from './append/log.ts';
import type { AuditStore } from './append/log.ts';
import { toCanonicalEvent } from './append/parse-append.ts';

const PreviousLog = z.strictObject({
  verifierKey: z.string(),
  /** The last checkpoint of the previous log that is known, a signed note. */
  checkpoint: z.string(),
  /** The signature of the previous key over `successionStatement`. Not there if that key is lost. */
  endorsement: Base64.optional(),
  /** Why an operator began a new log, in their words. */
  reason: z.string().min(1).max(1_000),
  /** The subfolder with the files of the previous log. */
  folder: z.string(),
});

/** The log before this one, which could not go on. */
export type PreviousLog = z.output<typeof PreviousLog>;

/** The file that says so from the first start of the new log on. */
export function previousLogPath(folder: string): string {
  return join(folder, 'previous-log.json');
}

/** The same file while the files of the previous log are being moved. */
export function plannedLogPath(folder: string): string {
  return join(folder, 'new-log.json');
}

/** @throws StartError if a new log was begun half */
export function refuseUnfinishedLog(folder: string): void {
  if (!existsSync(plannedLogPath(folder))) return;
  throw new StartError(`A new audit log was begun in ${folder}, and not finished: run pnpm new-log again.`);
}

export async function readPreviousLog(path: string): Promise<PreviousLog | undefined> {
  const content = await readIfThere(path);
  return content === undefined ? undefined : PreviousLog.parse(JSON.parse(content));
}

/** Makes the first entry of a log that follows another one: it names that log and its last checkpoint. */
export async function recordPreviousLog(
  folder: string,
  { log, vkey, now }: { log: Pick<AuditStore, 'size' | 'append'>; vkey: string; now(): number },
): Promise<void> {
  if (log.size() > 0) return;
  const previous = await readPreviousLog(previousLogPath(folder));
  if (!previous) return;
  const { verifierKey, checkpoint, endorsement, reason } = previous;
  const changes = changesBetween({ verifierKey, checkpoint }, { verifierKey: vkey, endorsement });
  const actor = { id: 'operator', type: 'service' } as const;
  const at = now();
  const event = toAuditEvent(
    { actor },
    { action: 'audit.begin', rule: 'new-log', reason, changes },
    { id: uuidv7(at), at },
  );
  await log.append([{ event: toCanonicalEvent(event), peer: LOG_ITSELF }]);
}

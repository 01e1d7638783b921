import type { AuditResource } from '@cardea/contracts/audit-event';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { VaultContext } from '../context.ts';
import type { OlderPage, OlderRow, Resealable } from '../deks/resealable.ts';
import type { Failure, Failures } from './failures.ts';
import { noteUnopened } from './note-unopened.ts';
import type { Unopened } from './note-unopened.ts';
import { CLAIM_MS } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { addProgress } from './rotation-vault-store.ts';
import { vaultResource } from './vault-resource.ts';

/** Where rows that do not open were listed. */
interface ListedAt {
  resealable: Resealable;
  dek: DekRef;
  page: OlderPage;
  failures: Failures;
}

/** Notes rows that do not open. A row that was changed since it was listed is left to the next pass. */
export async function noteFailures(
  ctx: VaultContext,
  run: RotationRun,
  listed: ListedAt,
  failed: Failure[],
): Promise<void> {
  const { resealable, failures, dek } = listed;
  const { vaultId } = dek;
  const standing = await stillThere(ctx, listed, failed);
  for (const { row } of standing) failures.add(resealable.kind, row);
  const resource = await vaultResource(ctx.db, vaultId);
  const found = standing.map((failure) => toUnopened(resealable.kind, vaultId, resource, failure));
  await noteUnopened(ctx, run.rotationId, found);
  const progress = { vaultId, done: 0, failed: failures.count, until: ctx.now().getTime() + CLAIM_MS };
  await ctx.db.transaction((tx) => addProgress(tx, run, progress));
}

async function stillThere(
  ctx: VaultContext,
  { resealable, dek, page }: ListedAt,
  failed: Failure[],
): Promise<Failure[]> {
  const now = new Map((await resealable.listOlder(ctx.db, dek, page)).map((row) => [keyOf(row), row.ciphertext]));
  return failed.filter(({ row }) => {
    const ciphertext = now.get(keyOf(row));
    return ciphertext !== undefined && Buffer.compare(ciphertext, row.ciphertext) === 0;
  });
}

function keyOf({ id, version }: OlderRow): string {
  return `${id} ${version}`;
}

function toUnopened(kind: string, vaultId: string, vault: AuditResource, { row, reason }: Failure): Unopened {
  const { id, version, dek_version, name } = row;
  const resource = { ...vault, name: name ?? id, ...(version === 0 ? {} : { version }) };
  return {
    row: { kind, vault_id: vaultId, id, version, dek_version, name, reason },
    facts: { action: 'dek.reseal', reason: 'a row does not open', resource, dekVersion: dek_version },
  };
}

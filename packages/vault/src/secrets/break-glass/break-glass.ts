import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../../access-store.ts';
import { authorize } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { confirmGround } from '../../confirm-rights.ts';
import { changeSealed } from '../../deks/change-sealed.ts';
import { beginOpening } from '../../deks/opening.ts';
import { addEvents } from '../../events/events.ts';
import { dueAt } from '../lifecycle/due.ts';
import { noteReads } from '../lifecycle/last-reads.ts';
import { getReadable } from '../readable.ts';
import type { FoundVersion } from '../readable.ts';
import { asWritten } from '../reference-value.ts';
import { openVersion } from '../sealing.ts';
import type { Secret } from '../secret.ts';
import { insertBreakGlass } from './break-glass-store.ts';

/** The secret that oversight asks for, and the reason. */
export interface BreakGlass {
  vault: string;
  name: string;
  reason: string;
}

/**
 * Reads a value for oversight, as it is stored: a reference is not followed. Before the value is opened, the caller and
 * the reason are recorded in the audit log and stored for the owners. If the log does not answer, the owners still see
 * the use, but the value is not shown.
 * @throws AppError `access_denied` unless the caller is a ceo; `not_found`, `gone`, `sealed`, `unavailable`;
 * IntegrityError if the row is not the one that was asked for
 */
export async function breakGlass(ctx: VaultContext, caller: Caller, ask: BreakGlass): Promise<Audited<Secret>> {
  const allowed = await authorizeOversight(ctx, caller, ask);
  const { vault } = allowed;
  const note = async (tx: Transaction) => {
    const row = await getReadable(ctx, tx, { vaultId: vault.id, name: ask.name });
    const dekVersion = envelopeKeyVersion(row.ciphertext);
    // Throws if Cardea is sealed: then the value cannot be opened, and the owners need no announcement.
    ctx.deks.get({ vaultId: vault.id, dekVersion });
    await noteUse(ctx, tx, caller, { vault, ask, row });
    const resource = { vault: vault.name, vaultId: vault.id, name: ask.name, version: row.version };
    const facts: EventFacts = { action: 'secret.breakGlass', resource, rule: 'break-glass', dekVersion };
    return { value: row, facts: { ...facts, reason: ask.reason } };
  };
  const noted = await changeSealed(ctx, caller, note, { rights: [allowed] });
  const { secret_id: secretId, version } = noted.value;
  // Vault and name come from the request, not from the row. So a row that was moved does not open.
  const opening = beginOpening(ctx, caller);
  const sealed = await openVersion(opening, { vault, name: ask.name, secretId, version }, noted.value);
  await confirmGround(ctx, caller, [allowed]);
  noteReads(ctx, caller, [noted.value]);
  return noted.map((row) => ({ ...toSecret(ask, row), bytes: asWritten(row, sealed) }));
}

// All other roles have a right to read, or can be given one. Break-glass is for the role that never has one.
async function authorizeOversight(ctx: VaultContext, caller: Caller, ask: BreakGlass): Promise<Allowed> {
  const allowed = await authorize(ctx, caller, 'vault.read', ask);
  const requireOversight = ({ role }: Caller): void => {
    if (role === 'ceo') return;
    const { rule } = allowed;
    throw new AppError('access_denied', 'break-glass is for oversight: read the secret the normal way', { rule });
  };
  requireOversight(caller);
  return {
    ...allowed,
    confirm(now, found) {
      allowed.confirm(now, found);
      requireOversight(now);
    },
  };
}

async function noteUse(
  ctx: VaultContext,
  tx: Transaction,
  { actor }: Caller,
  { vault, ask, row }: { vault: VaultRow; ask: BreakGlass; row: FoundVersion },
): Promise<void> {
  const { name, reason } = ask;
  const { version } = row;
  const at = ctx.now().getTime();
  await insertBreakGlass(tx, { id: uuidv7(at), secretId: row.secret_id, version, reason, at, userId: actor.id });
  const by = { id: actor.id, name: actor.name! };
  const payload = { name, version, reason, by };
  await addEvents(ctx, tx, [{ vaultId: vault.id, kind: 'secret.breakGlass', payload, at }]);
}

function toSecret({ name }: BreakGlass, row: FoundVersion): Omit<Secret, 'bytes'> {
  const due = dueAt(row.secret_expires_at, row.expires_at);
  return {
    name,
    version: row.version,
    encoding: row.encoding,
    contentType: row.content_type ?? undefined,
    metadata: JSON.parse(row.metadata) as Metadata,
    createdAt: new Date(row.created_at),
    expiresAt: due === null ? undefined : new Date(due),
    tag: String(row.version),
  };
}

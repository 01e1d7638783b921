import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { AppError } from '@cardea/contracts/errors';
import { DocumentSecret } from '@cardea/contracts/secrets/documents';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { aboutOne } from '../../about-one.ts';
import { authorize, authorizeEach } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import type { VaultChange } from '../../change-in-vaults.ts';
import { roomFor } from '../../quotas.ts';
import { rehearse } from '../../rehearse.ts';
import { audited } from '../../record.ts';
import { inBulkTurn } from '../bulk/bulk-turns.ts';
import type { EventFactsList } from '../../record.ts';
import { findSecret } from '../secret-store.ts';
import { tooLarge } from '../value-size.ts';
import { isReference, writeVersion } from '../write-version.ts';
import type { Write } from '../write-version.ts';
import { ITSELF } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { ParsedItem } from './document-item.ts';
import { readDocument } from './read-document.ts';
import { shown } from './value.ts';

export interface ImportRequest {
  format: DocumentFormat;
  content: string;
  /** The names in the document are relative to this prefix. */
  prefix?: string | undefined;
  /** Answers what an import would do with each secret, and writes nothing. Never answers `unchanged`. */
  dryRun: boolean;
}

export interface ImportResult {
  name: string;
  result: 'created' | 'updated' | 'unchanged' | 'refused';
  /** The version that was written. */
  version?: number;
  /** Why the secret is refused. */
  reason?: string;
}

/**
 * Writes the secrets of a document by the rules of `putSecret`, in one transaction. Metadata and limits of versions
 * stay as they are. If one secret is refused, nothing is written.
 * @throws AppError `invalid_request` with the line of each refused secret; `too_large`; `not_found`, `access_denied`,
 * `rate_limited`, `sealed`, `unavailable`
 */
export async function importSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault }: { vault: string },
  request: ImportRequest,
): Promise<Audited<ImportResult[]>> {
  const allowed = await authorize(ctx, caller, 'secret.write', { vault });
  return inBulkTurn(ctx, caller, [allowed], () => importAll(ctx, caller, allowed, request));
}

async function importAll(
  ctx: VaultContext,
  caller: Caller,
  allowed: Allowed,
  { format, content, prefix, dryRun }: ImportRequest,
): Promise<Audited<ImportResult[]>> {
  const vault = allowed.vault.name;
  const items: Item[] = [];
  await pauseIfLong(callerKey(caller));
  for (const item of await readDocument(format, content)) {
    await pauseIfLong(callerKey(caller));
    items.push(toItem(ctx, item, prefix));
  }
  const rights: Run['change']['rights'] = [allowed, ...(await authorizeNames(ctx, caller, vault, items))];
  const run = { allowed, change: { rights, whole: true, references: true }, prefix, items };
  const outcome = dryRun ? tryOut(ctx, caller, run) : write(ctx, caller, run);
  return outcome.finally(() => items.forEach(({ value }) => value.bytes.fill(0)));
}

interface Item extends ParsedItem {
  /** Why the secret is refused, regardless of what is in the vault. */
  refusal: string | undefined;
}

interface Run {
  allowed: Allowed;
  change: VaultChange & { rights: [Allowed, ...Allowed[]] };
  prefix: string | undefined;
  items: Item[];
}

function toItem(ctx: VaultContext, item: ParsedItem, prefix: string | undefined): Item {
  const name = [prefix, item.name].filter(Boolean).join('/') || ITSELF;
  const { encoding, contentType } = item.value;
  const { error } = DocumentSecret.safeParse({ name, value: shown(item.value), encoding, contentType });
  const issue = error?.issues[0];
  if (issue) return { ...item, name, refusal: `${issue.path.join('.')}: ${issue.message}` };
  const message = tooLarge(ctx, item.value);
  return { ...item, name, refusal: message && `value: ${message}` };
}

async function authorizeNames(ctx: VaultContext, caller: Caller, vault: string, items: Item[]): Promise<Allowed[]> {
  const names = items.filter(({ refusal }) => refusal === undefined).map(({ name }) => name);
  if (names.length === 0) return [];
  const allowed = await authorizeEach(ctx, caller, 'secret.write', { vault, names }, (error, index) =>
    aboutOne(error, { path: 'body.content', name: names[index]! }),
  );
  return [allowed];
}

function write(ctx: VaultContext, caller: Caller, run: Run): Promise<Audited<ImportResult[]>> {
  const work = async (tx: Transaction) => {
    const done = await writeAll(ctx, tx, caller, run);
    refuseRefused(run.items, done.value);
    return done;
  };
  return changeInVaults(ctx, caller, run.change, work);
}

function refuseRefused(items: Item[], results: ImportResult[]): void {
  const errors = results.flatMap(({ reason }, index) =>
    reason === undefined ? [] : [{ path: 'body.content', message: `line ${items[index]!.line}: ${reason}` }],
  );
  const [first] = errors;
  if (first) throw new AppError('invalid_request', `nothing was written: ${first.message}`, { errors });
}

async function tryOut(ctx: VaultContext, caller: Caller, run: Run): Promise<Audited<ImportResult[]>> {
  const hasReference = run.items.some(({ refusal, value }) => refusal === undefined && isReference(value));
  const results = hasReference
    ? await rehearse(ctx, caller, run.change, (tx) => writeAll(ctx, tx, caller, run))
    : await planImport(ctx, caller, run);
  return audited(ctx, caller, run.change.rights, { ...factsOf(run), reason: 'dry run' }, () => results.map(toTried));
}

/** What an import without references would answer. */
async function planImport(ctx: VaultContext, caller: Caller, { allowed, items }: Run): Promise<ImportResult[]> {
  const results: ImportResult[] = [];
  const vaultId = allowed.vault.id;
  let added = 0;
  for (const { name, refusal } of items) {
    await pauseIfLong(callerKey(caller));
    if (refusal !== undefined) {
      results.push(refused(name, refusal).result);
      continue;
    }
    const secret = await findSecret(ctx.db, { vaultId, name });
    if (!secret) added += 1;
    results.push({ name, result: secret?.live === 1 ? 'updated' : 'created' });
  }
  if (added > 0) await roomFor(ctx, ctx.db, { vaultId, added });
  return results;
}

// Only a real import, with one record for each secret, reveals that a value is the stored one. Otherwise a caller could
// guess a thousand values with a dry run, which has one record only.
function toTried({ name, result, reason }: ImportResult): ImportResult {
  return { name, result: result === 'unchanged' ? 'updated' : result, ...(reason === undefined ? {} : { reason }) };
}

async function writeAll(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  run: Run,
): Promise<{ value: ImportResult[]; facts: EventFactsList }> {
  const results: ImportResult[] = [];
  const facts: EventFactsList = [factsOf(run)];
  for (const item of run.items) {
    const written = await writeItem(ctx, tx, caller, { allowed: run.allowed, item });
    results.push(written.result);
    facts.push(...written.facts);
  }
  return { value: results, facts };
}

async function writeItem(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  { allowed: { vault, rule }, item: { name, value, refusal } }: { allowed: Allowed; item: Item },
): Promise<{ result: ImportResult; facts: EventFacts[] }> {
  if (refusal !== undefined) return refused(name, refusal);
  const write: Write = { vault, rule, action: 'secret.write', name, value, options: {}, conditions: {} };
  try {
    const { outcome, facts } = await writeVersion(ctx, tx, caller, write);
    const { isNew, changed, version } = outcome;
    return { result: { name, version, result: isNew ? 'created' : changed ? 'updated' : 'unchanged' }, facts };
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_request') return refused(name, error.message);
    throw error;
  }
}

function refused(name: string, reason: string): { result: ImportResult; facts: EventFacts[] } {
  return { result: { name, result: 'refused', reason }, facts: [] };
}

function factsOf({ allowed: { vault, rule }, prefix, items }: Run): EventFacts {
  const resource = { vault: vault.name, vaultId: vault.id, ...(prefix ? { name: prefix } : {}), count: items.length };
  return { action: 'secret.import', resource, rule };
}

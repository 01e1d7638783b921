import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { VaultContext } from '../../context.ts';
import type { Cursor, ListId } from '../../cursor.ts';
import { groundOf, listLiveGrants } from '../../grants/live-grants.ts';
import type { Page, PageRequest } from '../../page.ts';
import { audited } from '../../record.ts';
import { rightByRole } from '../../right.ts';
import type { Right } from '../../right.ts';
import { listVaultsFrom } from '../../vaults/vault-store.ts';
import { listedOf } from './list-secrets.ts';
import type { ListedSecret } from './list-secrets.ts';
import { wordsOfQuery } from './search-index.ts';
import { cursorTo, firstVaultOf, search } from './search.ts';
import type { Criteria, SearchRequest, SearchedVault } from './search.ts';

/** A secret without its value, and its vault. */
export type FoundSecret = ListedSecret & { vault: string };

// How many vaults a page searches. A vault without a match costs one index lookup.
const VAULTS_MAX = 1_000;

/**
 * Finds secrets by words of their names and by metadata, in every vault in which the caller may list them. A query may
 * reveal as much as its result, so the audit log gets only the kind of the query.
 * @throws AppError `invalid_request` for an invalid cursor
 */
export async function searchSecrets(
  ctx: VaultContext,
  caller: Caller,
  { q = '', labels, ...request }: { q?: string | undefined; labels: Criteria['labels'] } & PageRequest,
): Promise<Audited<Page<FoundSecret>>> {
  const criteria = { words: wordsOfQuery(q), labels };
  const list: ListId = ['search', q, ...labels.flat()];
  const { vaults, next, rule } = await listVisible(ctx, caller, { ...request, list });
  const { items, nextCursor = next } = await search(ctx.db, vaults, criteria, {
    ...request,
    list,
    by: callerKey(caller),
  });
  const found = items.map(({ vault, row }) => ({ vault: vault.name, ...listedOf(row) }));
  const page = { items: found, ...(nextCursor === undefined ? {} : { nextCursor }) };
  const reason = [...(q === '' ? [] : ['q']), ...(labels.length === 0 ? [] : ['metadata'])].join(', ');
  const facts: EventFacts = { action: 'secret.search', rule, reason, resource: { count: found.length } };
  const shown = new Set(items.map(({ vault }) => vault.id));
  const ground = groundOf(vaults.filter(({ id }) => shown.has(id)).map(({ right }) => right));
  return audited(ctx, caller, ground, facts, () => page);
}

interface Visible {
  vaults: VisibleVault[];
  /** A cursor to the vaults that are left. */
  next: Cursor | undefined;
  rule: AuditRule;
}

/** A vault in which the caller may list secrets, and by which right. */
interface VisibleVault extends SearchedVault {
  right: Right;
}

async function listVisible(
  ctx: VaultContext,
  caller: Caller,
  request: Pick<SearchRequest, 'list' | 'cursor'>,
): Promise<Visible> {
  const firstId = firstVaultOf(request);
  const { role } = caller;
  const rule: AuditRule = role === 'admin' || role === 'ceo' ? `role:${role}` : 'grant:any';
  const vaults =
    rule === 'grant:any'
      ? (await listGranted(ctx, caller)).filter(({ id }) => id >= firstId)
      : await listAll(ctx, rightByRole(ctx, caller, rule), firstId);
  const left = vaults[VAULTS_MAX];
  return { vaults: vaults.slice(0, VAULTS_MAX), next: left && cursorTo(request.list, left.id), rule };
}

async function listAll(ctx: VaultContext, right: Right, firstId: string): Promise<VisibleVault[]> {
  const vaults = await listVaultsFrom(ctx.db, { id: firstId, limit: VAULTS_MAX + 1 });
  return vaults.map(({ id, name }) => ({ id, name, pathPrefix: undefined, right }));
}

// Uses the same decision as a list of one vault.
async function listGranted(ctx: VaultContext, caller: Caller): Promise<VisibleVault[]> {
  const grants = await listLiveGrants(ctx, caller, 'secret.list');
  return grants
    .map(({ vault: { id, name }, owner, pathPrefix, right }) => ({
      id,
      name,
      pathPrefix: owner ? undefined : pathPrefix,
      right,
    }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { AppError } from '@cardea/contracts/errors';
import { SecretName } from '@cardea/contracts/names';
import { MOVE_VERSIONS_MAX } from '@cardea/contracts/secrets/bulk';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { namingItem } from '../../about-one.ts';
import type { RequestItem } from '../../about-one.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import { useNewestDek } from '../../deks/dek-store.ts';
import { roomFor } from '../../quotas.ts';
import { rehearse } from '../../rehearse.ts';
import { audited } from '../../record.ts';
import type { ChangeOutcome } from '../../record.ts';
import { listUnder, tooMany } from '../listing/list-under.ts';
import { authorizeMove, moveTo, nameTaken, resourceOf } from '../move-secret.ts';
import type { SecretPath, MoveRights } from '../move-secret.ts';
import { countDependants } from '../../dependants.ts';
import { inBulkTurn } from './bulk-turns.ts';
import { requireNoCircle } from '../references.ts';
import { countVersions } from '../sealed-version-store.ts';
import { findSecret, listSecretsIn, lockSecretsIn } from '../secret-store.ts';
import type { SecretRow } from '../secret-store.ts';

const ADVICE = 'move longer prefixes, one at a time';

/** The old and the new names of the secrets that were moved. */
export interface MovedAll {
  items: { name: string; toName: string }[];
  /** How many references that the caller may list point to the old names. */
  dependants: number;
}

/**
 * Moves the secret called `from.name` and all secrets under it, including those in the trash, in one transaction and
 * with one record. `to.name` replaces the prefix `from.name` in their names. One of the prefixes may lie under the
 * other. A dry run gives the same answer and moves nothing.
 * @throws AppError as `moveSecret`; `not_found` if there is no secret; `invalid_request` if a name becomes too long;
 * `too_large` for more than BULK_MAX secrets, or MOVE_VERSIONS_MAX versions; `rate_limited`
 */
export async function moveSecrets(
  ctx: VaultContext,
  caller: Caller,
  { from, to, dryRun }: { from: SecretPath; to: SecretPath; dryRun: boolean },
): Promise<Audited<MovedAll>> {
  // A right to a name is a right to all names under it. The answer shows these names, so it needs the right to list.
  const rights = await authorizeMove(ctx, caller, { from, to }, ['secret.list']);
  const prefixes = { prefix: from.name, toPrefix: to.name };
  const work = (tx: Transaction) => moveAll(ctx, tx, caller, rights, { ...prefixes, dryRun });
  const change = { rights: rights.rights, whole: true, references: true };
  if (!dryRun) return inBulkTurn(ctx, caller, rights.rights, () => changeInVaults(ctx, caller, change, work));
  const moved = await inBulkTurn(
    ctx,
    caller,
    rights.rights,
    async () => (await planMove(ctx, caller, rights, prefixes)) ?? rehearse(ctx, caller, change, work),
  );
  const facts = factsOf(rights, { ...prefixes, count: moved.items.length });
  return audited(ctx, caller, rights.rights, { ...facts, reason: 'dry run' }, () => moved);
}

async function moveAll(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  rights: MoveRights,
  { prefix, toPrefix, dryRun }: Prefixes & { dryRun: boolean },
): Promise<ChangeOutcome<MovedAll>> {
  const secrets = await listUnder((part) => lockSecretsIn(tx, { vaultId: rights.from.id, ...part }), {
    prefix,
    advice: ADVICE,
  });
  const moves = toMoves(secrets, { prefix, toPrefix });
  const dekVersion = dryRun ? undefined : await useNewestDek(tx, rights.to.id, ctx.now().getTime());
  await moveEach(ctx, tx, { ...rights, dekVersion }, inOrder(moves, toPrefix.length - prefix.length));
  let dependants = 0;
  for (const { secret, toName } of moves) {
    const at = { vault: rights.to.name, name: toName, secretId: secret.id };
    await namingItem(whichOf(secret), () => requireNoCircle(ctx, tx, caller, at));
    dependants += (await countDependants(ctx, tx, caller, secret)).seen;
  }
  const items = moves.map(itemOf);
  return { value: { items, dependants }, facts: factsOf(rights, { prefix, toPrefix, count: items.length }) };
}

/**
 * What a move would answer. Undefined if one of the secrets is a reference, which may become a circle. Values are not
 * opened, so a damaged one is found by the move itself.
 */
async function planMove(
  ctx: VaultContext,
  caller: Caller,
  rights: MoveRights,
  prefixes: Prefixes,
): Promise<MovedAll | undefined> {
  const { db } = ctx;
  const secrets = await listUnder((part) => listSecretsIn(db, { vaultId: rights.from.id, ...part }), {
    prefix: prefixes.prefix,
    advice: ADVICE,
  });
  const moves = toMoves(secrets, prefixes);
  const moved = new Set(secrets.map(({ id }) => id));
  let dependants = 0;
  for (const { secret, toName } of moves) {
    await pauseIfLong(callerKey(caller));
    const taken = await findSecret(db, { vaultId: rights.to.id, name: toName });
    const movesAway = taken && taken.id !== secret.id && moved.has(taken.id);
    if (taken && !movesAway) await namingItem(whichOf(secret), () => Promise.reject(nameTaken(toName)));
    dependants += (await countDependants(ctx, db, caller, secret)).seen;
  }
  if (rights.from.id !== rights.to.id) await roomFor(ctx, db, { vaultId: rights.to.id, added: moves.length });
  const { versions, references } = await countVersions(db, [...moved]);
  if (versions > MOVE_VERSIONS_MAX) throw tooManyVersions();
  return references > 0 ? undefined : { items: moves.map(itemOf), dependants };
}

/** The name before and the name after. */
interface Prefixes {
  prefix: string;
  toPrefix: string;
}

function toMoves(secrets: SecretRow[], { prefix, toPrefix }: Prefixes): OneMove[] {
  return secrets.map((secret) => ({ secret, toName: nameBelow(toPrefix, secret.name.slice(prefix.length)) }));
}

function itemOf({ secret, toName }: OneMove): MovedAll['items'][number] {
  return { name: secret.name, toName };
}

function tooManyVersions(): AppError {
  return tooMany(`${MOVE_VERSIONS_MAX} versions`, ADVICE);
}

interface OneMove {
  secret: SecretRow;
  toName: string;
}

function nameBelow(toPrefix: string, rest: string): string {
  const name = SecretName.safeParse(`${toPrefix}${rest}`);
  if (name.success) return name.data;
  const message = `the new name that ends in ${rest} would be too long`;
  throw new AppError('invalid_request', message, { errors: [{ path: 'body.toPrefix', message }] });
}

// A secret may take the old name of another that moves too, so the other must move first. All names grow or shrink by
// the same number of characters. If they grow, the other name is the longer one, so the longest names move first. If
// they shrink, the shortest names move first.
function inOrder(moves: OneMove[], growth: number): OneMove[] {
  return moves.toSorted((a, b) => Math.sign(growth) * (b.secret.name.length - a.secret.name.length));
}

async function moveEach(
  ctx: VaultContext,
  tx: Transaction,
  rights: MoveRights & { dekVersion: number | undefined },
  moves: OneMove[],
): Promise<void> {
  let versions = 0;
  for (const move of moves) {
    versions += (await namingItem(whichOf(move.secret), () => moveTo(ctx, tx, rights, move))).versions;
    if (versions > MOVE_VERSIONS_MAX) throw tooManyVersions();
  }
}

function whichOf({ name }: SecretRow): RequestItem {
  return { path: 'body.prefix', name };
}

function factsOf(rights: MoveRights, { prefix, toPrefix, count }: Prefixes & { count: number }): EventFacts {
  return { action: 'secret.move', resource: { ...resourceOf(rights, prefix, toPrefix), count }, rule: rights.rule };
}

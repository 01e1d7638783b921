import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { SecretName } from '@cardea/contracts/names';
import { MOVE_VERSIONS_MAX } from '@cardea/contracts/secrets/bulk';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { namingItem } from '../../about-one.ts';
import type { RequestItem } from '../../about-one.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import { useNewestDek } from '../../deks/dek-store.ts';
import { rehearse } from '../../rehearse.ts';
import { audited } from '../../record.ts';
import type { ChangeOutcome } from '../../record.ts';
import { listUnder, tooMany } from '../listing/list-under.ts';
import { authorizeMove, moveTo, resourceOf } from '../move-secret.ts';
import type { SecretPath, MoveRights } from '../move-secret.ts';
import { countDependants, requireNoCircle } from '../references.ts';
import { lockSecretsIn } from '../secret-store.ts';
import type { SecretRow } from '../secret-store.ts';

const ADVICE = 'move longer prefixes, one at a time';

/** The old and the new names of the secrets that were moved. */
export interface MovedAll {
  items: { name: string; toName: string }[];
  /** How many references point to the old names. */
  dependants: number;
}

/**
 * Moves the secret called `from.name` and all secrets under it, including those in the trash, in one transaction and
 * with one record. `to.name` replaces the prefix `from.name` in their names. One of the prefixes may lie under the
 * other. A dry run gives the same answer and moves nothing.
 * @throws AppError as `moveSecret`; `not_found` if there is no secret; `invalid_request` if a name becomes too long;
 * `too_large` for more than BULK_MAX secrets, or MOVE_VERSIONS_MAX versions
 */
export async function moveSecrets(
  ctx: VaultContext,
  caller: Caller,
  { from, to, dryRun }: { from: SecretPath; to: SecretPath; dryRun: boolean },
): Promise<Audited<MovedAll>> {
  // A right to a name is a right to all names under it. The answer shows these names, so it needs the right to list.
  const rights = await authorizeMove(ctx, caller, { from, to }, ['secret.list']);
  const work = (tx: Transaction) => moveAll(ctx, tx, caller, rights, { prefix: from.name, toPrefix: to.name });
  const change = { rights: rights.rights, whole: true, references: true };
  if (!dryRun) return changeInVaults(ctx, caller, change, work);
  const moved = await rehearse(ctx, caller, change, work);
  const facts = factsOf(rights, { prefix: from.name, toPrefix: to.name, count: moved.items.length });
  return audited(ctx, caller, { ...facts, reason: 'dry run' }, () => moved);
}

async function moveAll(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  rights: MoveRights,
  { prefix, toPrefix }: { prefix: string; toPrefix: string },
): Promise<ChangeOutcome<MovedAll>> {
  const secrets = await listUnder((part) => lockSecretsIn(tx, { vaultId: rights.from.id, ...part }), {
    prefix,
    advice: ADVICE,
  });
  const moves = secrets.map((secret) => ({ secret, toName: nameBelow(toPrefix, secret.name.slice(prefix.length)) }));
  const dekVersion = await useNewestDek(tx, rights.to.id, ctx.now().getTime());
  await moveEach(ctx, tx, { ...rights, dekVersion }, inOrder(moves, toPrefix.length - prefix.length));
  let dependants = 0;
  for (const { secret, toName } of moves) {
    const at = { vault: rights.to.name, name: toName, secretId: secret.id };
    await namingItem(whichOf(secret), () => requireNoCircle(ctx, tx, caller, at));
    dependants += await countDependants(tx, { vault: rights.from.name, name: secret.name });
  }
  const items = moves.map(({ secret, toName }) => ({ name: secret.name, toName }));
  return { value: { items, dependants }, facts: factsOf(rights, { prefix, toPrefix, count: items.length }) };
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
  rights: MoveRights & { dekVersion: number },
  moves: OneMove[],
): Promise<void> {
  let versions = 0;
  for (const move of moves) {
    versions += (await namingItem(whichOf(move.secret), () => moveTo(ctx, tx, rights, move))).versions;
    if (versions > MOVE_VERSIONS_MAX) throw tooMany(`${MOVE_VERSIONS_MAX} versions`, ADVICE);
  }
}

function whichOf({ name }: SecretRow): RequestItem {
  return { path: 'body.prefix', name };
}

function factsOf(
  rights: MoveRights,
  { prefix, toPrefix, count }: { prefix: string; toPrefix: string; count: number },
): EventFacts {
  return { action: 'secret.move', resource: { ...resourceOf(rights, prefix, toPrefix), count }, rule: rights.rule };
}

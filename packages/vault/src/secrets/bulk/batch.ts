import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { aboutOne, namingItem } from '../../about-one.ts';
import type { RequestItem } from '../../about-one.ts';
import { authorizeEach } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import { beginOpening } from '../../deks/opening.ts';
import { audited } from '../../record.ts';
import type { EventFactsList } from '../../record.ts';
import { findLimitRight } from '../limit-right.ts';
import { noteReads } from '../lifecycle/last-reads.ts';
import { requireReadable } from '../readable.ts';
import { factsOfHops, followReferences, openLast, rightsOf } from '../reference-hops.ts';
import type { Hops } from '../reference-hops.ts';
import type { Secret, SecretValue } from '../secret.ts';
import { refuseTooLarge } from '../value-size.ts';
import { isReference, writeVersion } from '../write-version.ts';
import type { PutOptions, PutOutcome, Write } from '../write-version.ts';
import { inBatchTurn } from './bulk-turns.ts';
import { findAllReadable } from './batch-store.ts';

/** A batch of more secrets than this takes a turn, and is written while no other change of the vault is. */
const BESIDE_OTHERS_MAX = 10;

/**
 * Reads the newest versions of several secrets, all or nothing. The versions are of one point in time. References are
 * followed after that.
 * @throws AppError as `readSecret`, with the first item that cannot be read; `rate_limited`
 */
export async function batchRead(
  ctx: VaultContext,
  caller: Caller,
  { vault: vaultName, names }: { vault: string; names: string[] },
): Promise<Audited<Secret[]>> {
  const on = { vault: vaultName, names };
  const which = (index: number): RequestItem => ({ path: `body.names.${index}`, name: names[index]! });
  const allowed = await authorizeEach(ctx, caller, 'secret.read', on, (error, index) => aboutOne(error, which(index)));
  if (names.length <= BESIDE_OTHERS_MAX) return readAll(ctx, caller, allowed, { names, which });
  return inBatchTurn(ctx, caller, [allowed], () => readAll(ctx, caller, allowed, { names, which }));
}

async function readAll(
  ctx: VaultContext,
  caller: Caller,
  allowed: Allowed,
  { names, which }: { names: string[]; which: (index: number) => RequestItem },
): Promise<Audited<Secret[]>> {
  const opening = beginOpening(ctx, caller);
  const rows = await findAllReadable(ctx.db, { vaultId: allowed.vault.id, names });
  const readings: { hops: Hops; facts: EventFactsList }[] = [];
  for (const [index, name] of names.entries()) {
    await pauseIfLong(callerKey(caller));
    const reading = namingItem(which(index), async () => {
      const row = requireReadable(ctx, rows.get(name));
      const hops = await followReferences(ctx, caller, { allowed, name, row }, opening);
      return { hops, facts: factsOfHops(hops) };
    });
    readings.push(await reading);
  }
  // All are opened before the first is recorded: if one does not open, none is shown.
  const secrets: Secret[] = [];
  for (const [index, { hops }] of readings.entries()) {
    await pauseIfLong(callerKey(caller));
    secrets.push(await namingItem(which(index), () => openLast(opening, hops)));
  }
  const facts = readings.flatMap((reading) => reading.facts) as EventFactsList;
  const rights = readings.flatMap(({ hops }) => rightsOf(hops));
  const read = await audited(ctx, caller, [allowed, ...rights], facts, () => secrets);
  const shown = readings.flatMap(({ hops }) => hops.map(({ row }) => row));
  noteReads(ctx, caller, shown);
  return read;
}

/** One value of a batch, with its name. */
export interface BatchWrite {
  name: string;
  value: SecretValue;
  options: PutOptions;
}

/**
 * Stores several values, each as the newest version of its secret, in one transaction.
 * @throws AppError as `putSecret`, with an item that cannot be written; `rate_limited`
 */
export async function batchWrite(
  ctx: VaultContext,
  caller: Caller,
  { vault: vaultName, secrets }: { vault: string; secrets: BatchWrite[] },
): Promise<Audited<PutOutcome[]>> {
  const on = { vault: vaultName, names: secrets.map(({ name }) => name) };
  const which = (index: number): RequestItem => ({ path: `body.secrets.${index}`, name: secrets[index]!.name });
  const allowed = await authorizeEach(ctx, caller, 'secret.write', on, (error, index) => aboutOne(error, which(index)));
  for (const [index, { value }] of secrets.entries()) refuseTooLarge(ctx, value, `body.secrets.${index}.value`);
  const limited = secrets.find(({ options }) => options.maxVersions !== undefined);
  const limitRight = await findLimitRight(ctx, caller, { vault: vaultName, name: limited?.name });
  const { vault, rule } = allowed;
  const work = async (tx: Transaction) => {
    const written: Awaited<ReturnType<typeof writeVersion>>[] = [];
    for (const index of inOrderOfNames(secrets)) {
      const write: Write = { vault, rule, action: 'secret.write', ...secrets[index]!, conditions: {}, limitRight };
      written[index] = await namingItem(which(index), () => writeVersion(ctx, tx, caller, write));
    }
    return {
      value: written.map(({ outcome }) => outcome),
      facts: written.flatMap(({ facts }) => facts) as EventFactsList,
    };
  };
  const whole = secrets.length > BESIDE_OTHERS_MAX;
  const references = secrets.some(({ value }) => isReference(value));
  const change = { rights: [allowed, ...limitRight.rights], whole, references };
  const write = () => changeInVaults(ctx, caller, change, work);
  return whole ? inBatchTurn(ctx, caller, [allowed], write) : write();
}

// All batches write their secrets in the same order. Two concurrent batches with the same secrets in different orders
// would wait for each other, until PostgreSQL detects the deadlock and aborts one of them.
function inOrderOfNames(secrets: { name: string }[]): number[] {
  return [...secrets.keys()].toSorted((a, b) => (secrets[a]!.name < secrets[b]!.name ? -1 : 1));
}

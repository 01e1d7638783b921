import { secretContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import type { VaultContext } from '../context.ts';

/** What the ciphertext of one version of a secret is bound to (I3). */
export interface VersionId {
  vaultId: string;
  name: string;
  secretId: string;
  version: number;
}

/** Seals a value under a DEK of its vault. @throws DekNotLoaded */
export function sealVersion(
  ctx: Pick<VaultContext, 'deks'>,
  id: VersionId,
  { dekVersion, bytes }: { dekVersion: number; bytes: Uint8Array },
): Uint8Array {
  return seal(ctx.deks.get({ vaultId: id.vaultId, dekVersion }), bytes, contextOf(id));
}

/** Opens a version inside of a transaction, into memory of its own. @throws DekNotLoaded; IntegrityError if it is another version's */
export function openVersion(ctx: Pick<VaultContext, 'deks'>, id: VersionId, ciphertext: Uint8Array): Uint8Array {
  const dekVersion = envelopeKeyVersion(ciphertext);
  return open(ctx.deks.get({ vaultId: id.vaultId, dekVersion }), ciphertext, contextOf(id));
}

/** Opens a version; the DEK is unwrapped if it is not here. @throws AppError `sealed`, `unavailable`; IntegrityError */
export function openVersionSoon(
  ctx: Pick<VaultContext, 'deks'>,
  id: VersionId,
  ciphertext: Uint8Array,
): Promise<Uint8Array> {
  const dek = { vaultId: id.vaultId, dekVersion: envelopeKeyVersion(ciphertext) };
  return ctx.deks.use(dek, (key) => open(key, ciphertext, contextOf(id)));
}

function contextOf(id: VersionId): Uint8Array {
  return secretContext({ ...id, field: 'value' });
}

import { AppError } from '@cardea/contracts/errors';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { deriveKey } from '@cardea/crypto/keys/derive-key';
import { isOf, keyAlgorithms } from '@cardea/crypto/keys/key-algorithms';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { VaultRow } from '../../access-store.ts';
import type { VaultContext } from '../../context.ts';
import type { Opening } from '../../deks/opening.ts';
import { keyNotThere } from '../../not-there.ts';
import { noteWait } from '../../right.ts';
import { openKeyMaterial } from '../key-sealing.ts';
import { findForUse, listForDecryption } from '../key-version-store.ts';
import type { KeyForUse } from '../key-version-store.ts';
import { refuseDeleted } from '../usable-key.ts';

/** A version of a key with its material. */
export interface OpenVersion {
  version: number;
  material: KeyMaterial;
}

/** A version that is asked to decrypt or to verify. */
export interface AskedVersion extends OpenVersion {
  /**
   * Why it must not: then the material is that of the newest version. The work is done with it all the same and comes to
   * nothing, so the time does not tell which versions there are.
   */
  refusal: AuditRule | undefined;
}

/** How many versions a Fernet token is tried with. A token does not name its version. */
const TRIED_MAX = 100;

// NIST SP 800-38D section 8.3, for random nonces. The count lags by some seconds; the margin is that of hours.
const MESSAGES_MAX = 2 ** 32 - 2 ** 28;

// The threads of RSA, ML-DSA and the large curves are busy for up to some milliseconds. The others take microseconds.
const slowAlgorithms: ReadonlySet<KeyAlgorithm> = new Set(
  (Object.keys(keyAlgorithms) as KeyAlgorithm[]).filter((name) => /^(rsa|ml-dsa|ecdsa-p384|ecdsa-p521)/.test(name)),
);

/** One key during one call. Looks up each version once. */
export interface KeyInUse {
  readonly id: string;
  readonly algorithm: KeyAlgorithm;
  /**
   * A version that encrypts or signs; the newest if it is undefined. `context` is that of a key that derives others.
   * @throws AppError `not_found`, `conflict`, `gone`, `sealed`; `invalid_request` without a context, or with one too many
   */
  maker(version: number | undefined, context?: Uint8Array): Promise<OpenVersion>;
  /** A version that a caller names to compute with its private key; the newest if it is undefined. @throws as `maker` */
  opener(version: number | undefined): Promise<OpenVersion>;
  /** A version that decrypts or verifies what it has made. @throws AppError `sealed`; `invalid_request` as `maker` */
  reader(version: number | undefined, context?: Uint8Array): Promise<AskedVersion>;
  /** All versions that decrypt, the newest first: at most 100. @throws as `reader` */
  readers(context?: Uint8Array): Promise<OpenVersion[]>;
  /** Whether slow work was done, so time has passed. */
  wasSlow(): boolean;
  /** Whether a version is enabled now, as the database says. */
  isEnabled(version: number): Promise<boolean>;
  /** Runs work with the material in another thread. Slow work waits for its turn: that of some algorithms, or what is said to be slow. */
  run<T>(work: () => Promise<T>, said?: { isSlow: boolean }): Promise<T>;
}

/** `found` is the newest version if it was looked up already. Material is opened by `opening`. @throws AppError `not_found`; `conflict` if the key was deleted */
export async function findKeyInUse(
  ctx: VaultContext,
  caller: Caller,
  { vault, name, opening, found }: { vault: VaultRow; name: string; opening: Opening; found: KeyForUse | undefined },
): Promise<KeyInUse> {
  const looked = new Map<number, Promise<KeyForUse[]>>();
  const ref = { vaultId: vault.id, name };
  if (found) looked.set(0, Promise.resolve([found]));
  const newest = (await look(0))[0]!;
  refuseDeleted(newest);
  const { id, algorithm, derivation } = newest;
  let wasSlow = false;

  // The version 0 is none, so it finds the newest alone.
  async function look(version: number): Promise<KeyForUse[]> {
    const rows = looked.get(version) ?? findForUse(ctx.db, { ...ref, version });
    looked.set(version, rows);
    if ((await rows).length === 0) throw keyNotThere();
    return rows;
  }

  async function open({ id: keyId, ciphertext, ...row }: KeyForUse): Promise<OpenVersion> {
    const { version, algorithm, exportable, derivation } = row;
    if (ciphertext === null) throw new TypeError('a destroyed version has no material');
    const versionId = { vault, name, keyId, version, algorithm, exportable, derivation };
    return { version, material: await openKeyMaterial(opening, versionId, ciphertext) };
  }

  // Every version of a key derives, or none. So a key that is asked in the wrong way says so, whatever version is meant.
  function requireContext(context: Uint8Array | undefined): void {
    if ((derivation === null) === (context === undefined)) return;
    const message =
      derivation === null
        ? 'the key derives no keys: leave contextBase64 out'
        : 'the key derives keys: give contextBase64';
    throw new AppError('invalid_request', message, { rule: 'key-context' });
  }

  let readers: Promise<OpenVersion[]> | undefined;

  async function openReaders(): Promise<OpenVersion[]> {
    const versions: OpenVersion[] = [];
    const rows = await listForDecryption(ctx.db, { ...ref, limit: TRIED_MAX });
    for (const row of rows) versions.push(await open(row));
    return versions;
  }

  return {
    id,
    algorithm,
    async maker(version, context) {
      requireContext(context);
      const rows = await look(version ?? 0);
      const row = requireMaker(version === undefined ? rows[0] : rows.find((row) => row.version === version));
      return derived(await open(row), context);
    },
    async opener(version) {
      const rows = await look(version ?? 0);
      return open(requireOpener(version === undefined ? rows[0] : rows.find((row) => row.version === version)));
    },
    async reader(version = 0, context) {
      requireContext(context);
      const rows = await look(version);
      const row = rows.find((row) => row.version === version);
      const refusal = refusalOf(row);
      const { material } = await open(row && refusal === undefined ? row : rows[0]!);
      return derived({ version, material, refusal }, context);
    },
    async readers(context) {
      requireContext(context);
      return (await (readers ??= openReaders())).map((version) => derived(version, context));
    },
    wasSlow: () => wasSlow,
    async isEnabled(version) {
      const rows = await findForUse(ctx.db, { ...ref, version });
      return rows.some((row) => row.version === version && row.state === 'enabled' && row.delete_at === null);
    },
    run(work, { isSlow } = { isSlow: slowAlgorithms.has(algorithm) }) {
      if (!isSlow) return work();
      wasSlow = true;
      noteWait(caller);
      return ctx.slowWork.use(callerKey(caller), work);
    },
  };
}

function derived<V extends OpenVersion>(version: V, context: Uint8Array | undefined): V {
  return context === undefined ? version : { ...version, material: deriveKey(version.material, context) };
}

function requireEnabled(row: KeyForUse | undefined): KeyForUse {
  if (!row) throw new AppError('not_found', 'the key has no such version', { rule: 'no-such-key-version' });
  const { version } = row;
  if (row.state === 'destroyed') {
    throw new AppError('gone', `version ${version} was destroyed`, { rule: 'key-version-destroyed' });
  }
  if (row.state === 'disabled') {
    throw new AppError('conflict', `version ${version} is disabled`, { rule: 'key-version-disabled' });
  }
  return row;
}

function requireOpener(asked: KeyForUse | undefined): KeyForUse {
  const row = requireEnabled(asked);
  if (row.version < row.min_decrypt_version) throw retired(row.version, 'minDecryptVersion');
  return row;
}

function retired(version: number, bound: string): AppError {
  return new AppError('conflict', `version ${version} is older than ${bound}`, { rule: 'key-version-retired' });
}

function requireMaker(asked: KeyForUse | undefined): KeyForUse {
  const row = requireEnabled(asked);
  const { version } = row;
  if (version < row.min_encrypt_version) throw retired(version, 'minEncryptVersion');
  if (isOf('aead', row.algorithm) && row.encryptions >= MESSAGES_MAX) {
    const message = `version ${version} has encrypted as many messages as one key may: rotate the key`;
    throw new AppError('conflict', message, { rule: 'key-version-full' });
  }
  return row;
}

function refusalOf(row: KeyForUse | undefined): AuditRule | undefined {
  if (!row) return 'no-such-key-version';
  if (row.state !== 'enabled') return `key-version-${row.state}`;
  return row.version < row.min_decrypt_version ? 'key-version-retired' : undefined;
}

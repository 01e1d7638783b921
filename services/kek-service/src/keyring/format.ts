import { AuditEvent } from '@cardea/contracts/audit-event';
import { Base64 } from '@cardea/contracts/names';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { sha256 } from '@cardea/crypto/ids';
import { z } from 'zod';

/** How many seals a keyring may have. */
export const SEALS_MAX = 16;
/** How many records may wait in a keyring for the audit log. */
export const RECORDS_MAX = 16;

// Read before anything is authenticated, so bounded: a changed file must not make a start take all memory.
const Cost = z.strictObject({
  memoryKib: z.int().min(8).max(1_048_576),
  passes: z.int().min(1).max(16),
  parallelism: z.int().min(1).max(16),
});

const seal = { id: z.uuid(), createdAt: z.iso.datetime(), wrappedRootKeyBase64: Base64.max(512) };
const Label = z.string().min(1).max(128);

const SealEntry = z.discriminatedUnion('type', [
  /** The seal key is in a file beside the keyring. */
  z.strictObject({ ...seal, type: z.literal('file') }),
  /** Argon2id makes the seal key from a passphrase. */
  z.strictObject({ ...seal, type: z.literal('passphrase'), saltBase64: Base64.length(24), cost: Cost }),
  /** The seal key is split: `threshold` of the shares make it. */
  z.strictObject({
    ...seal,
    type: z.literal('shamir'),
    threshold: z.int().min(2).max(255),
    /** SHA-256 of each share, in their order: tells which share is wrong. A share has 256 random bits. */
    shareHashesBase64: z.array(Base64.length(44)).min(2).max(255),
  }),
  /** A key that never leaves a PKCS#11 token encrypts the seal key. */
  z.strictObject({
    ...seal,
    type: z.literal('pkcs11'),
    tokenLabel: Label,
    keyLabel: Label,
    encryptedSealKeyBase64: Base64.max(512),
  }),
]);

const kek = {
  version: z.int().min(1).max(0xffff_ffff),
  createdAt: z.iso.datetime(),
  requestId: z.uuid().optional(),
};

const KekEntry = z.discriminatedUnion('state', [
  z.strictObject({ ...kek, state: z.enum(['enabled', 'decrypt-only']), wrappedKeyBase64: Base64.max(512) }),
  z.strictObject({ ...kek, state: z.literal('destroyed') }),
]);

/**
 * What `keyring.json` holds. Each seal wraps the root key, which wraps the KEKs; `mac` authenticates all the rest under
 * the root key.
 */
export const KeyringDocument = z.strictObject({
  format: z.literal(1),
  /** Grows by one with each replacement. */
  generation: z.int().min(1),
  seals: z
    .array(SealEntry)
    .min(1)
    .max(SEALS_MAX)
    .refine((seals) => new Set(seals.map(({ id }) => id)).size === seals.length, 'ids must differ'),
  keks: z
    .array(KekEntry)
    .refine((keks) => keks.every((one, at) => at === 0 || one.version > keks[at - 1]!.version), 'versions must ascend')
    .refine((keks) => keks.at(-1)?.state === 'enabled', 'the newest must be enabled')
    .refine((keks) => keks.filter(({ state }) => state === 'enabled').length === 1, 'only one may be enabled'),
  /**
   * The records of the latest replacement, after those of earlier ones that the audit log did not have yet. The last one
   * is of the replacement itself, without the hash of this document.
   */
  records: z.array(AuditEvent).min(1).max(RECORDS_MAX),
  mac: Base64.max(512),
});

export type KeyringDocument = z.output<typeof KeyringDocument>;
export type KekEntry = z.output<typeof KekEntry>;
/** A seal, and what is needed to open it beside its secret. */
export type SealEntry = z.output<typeof SealEntry>;
export type SealType = SealEntry['type'];
export type SealOf<T extends SealType> = Extract<SealEntry, { type: T }>;

/** The document as it is stored: canonical JSON and a newline. */
export function documentText(document: KeyringDocument): string {
  return `${canonicalize(document)}\n`;
}

/** Parses a stored keyring, of which only one spelling is accepted. @throws an error if a byte is not as written */
export function parseDocument(text: string): KeyringDocument {
  const document = KeyringDocument.parse(JSON.parse(text));
  // A duplicate key or another whitespace parses too, and nothing we wrote has either.
  if (documentText(document) !== text) throw new Error('the keyring is not in its canonical form');
  return document;
}

/** The records of a document, complete: the last one states the SHA-256 of the stored text. */
export function recordsOf(document: KeyringDocument): AuditEvent[] {
  const ciphertextSha256 = Buffer.from(sha256(documentText(document))).toString('hex');
  return [...document.records.slice(0, -1), { ...document.records.at(-1)!, ciphertextSha256 }];
}

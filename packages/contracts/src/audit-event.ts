import { z } from 'zod';
import { AuditChanges } from './audit-changes.ts';

/** A time in the audit log: RFC 3339 in UTC with exactly six decimals. */
export const AuditTime = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/);

const Text = z.string().min(1).max(1024);
const Version = z.int().min(0);

export const AuditActor = z.strictObject({
  id: Text,
  type: z.enum(['user', 'application', 'service', 'anonymous']),
  name: Text.optional(),
  session: Text.optional(),
  credential: Text.optional(),
});

export const AuditSource = z.strictObject({
  ip: Text.optional(),
  userAgent: Text.optional(),
});

export const AuditResource = z.strictObject({
  vault: Text.optional(),
  vaultId: Text.optional(),
  name: Text.optional(),
  version: Version.optional(),
  keyVersion: Version.optional(),
  /** How often a call used each version of a key: `{"3": 12}`. Only of a batch. */
  keyVersions: z.record(z.string().regex(/^[1-9]\d{0,15}$/), z.int().min(1)).optional(),
  user: Text.optional(),
  application: Text.optional(),
  count: z.int().min(0).optional(),
  /** How many items of a batch were refused, of `count`. */
  failed: z.int().min(0).optional(),
  /** The new vault and name of a moved secret. */
  toVault: Text.optional(),
  toVaultId: Text.optional(),
  toName: Text.optional(),
});

/**
 * An event as a service reports it. The audit log wraps it in an entry and never changes it. It has no secret value,
 * and no hash from which a value could be guessed.
 */
export const AuditEvent = z.strictObject({
  /** A UUIDv7. The log takes each id only once, so an append can be repeated. */
  id: z.uuid(),
  ts: AuditTime,
  /** One of `auditActions`, or an action of another version: every version must be able to read the whole log. */
  action: z
    .string()
    .regex(/^[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)+$/)
    .max(64),
  decision: z.enum(['allow', 'deny']),
  reason: Text.optional(),
  actor: AuditActor,
  source: AuditSource.optional(),
  resource: AuditResource.optional(),
  changes: AuditChanges.optional(),
  requestId: Text.optional(),
  rule: Text.optional(),
  ciphertextSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  dekVersion: Version.optional(),
  kekVersion: Version.optional(),
  suspicious: Text.optional(),
});

export type AuditActor = z.output<typeof AuditActor>;
export type AuditSource = z.output<typeof AuditSource>;
export type AuditResource = z.output<typeof AuditResource>;
export type AuditEvent = z.output<typeof AuditEvent>;

import { z } from 'zod';
import * as internal from './audit-api.ts';
import { endpoint } from './endpoint.ts';

// The public interface of the audit log, for admins and ceos. Owners list the entries of their vaults, and everybody may
// turn the receipt of an answer into a proof. It has the same shapes as the interface between services.

const common = { auth: 'bearer', params: z.undefined() } as const;

export const listAuditEntries = endpoint({
  ...internal.listEntries,
  ...common,
  path: '/api/v1/audit/entries',
  query: internal.EntryQuery,
  response: internal.EntryPage,
});
export const proveAuditInclusion = endpoint({
  ...internal.proveInclusion,
  ...common,
  path: '/api/v1/audit/proofs/inclusion',
  response: internal.InclusionProof,
});
export const proveAuditConsistency = endpoint({
  ...internal.proveConsistency,
  ...common,
  path: '/api/v1/audit/proofs/consistency',
  response: internal.ConsistencyProof,
});
export const proveAuditReceipt = endpoint({
  ...internal.proveReceipt,
  ...common,
  path: '/api/v1/audit/proofs/receipt',
  response: z.string(),
});
export const readAuditCheckpoint = endpoint({
  ...internal.readCheckpoint,
  ...common,
  path: '/api/v1/audit/checkpoint',
});
export const exportAuditLog = endpoint({ ...internal.exportEntries, ...common, path: '/api/v1/audit/export' });

/** JSON lines: what the database has of everything whose changes the log records. The verifier compares both. */
export const exportAuditedState = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/audit/state',
  action: 'audit.export',
  summary:
    'Export what the database says of users, applications, vaults, grants, secrets and keys, without values. The verifier ' +
    'compares it with an export of the audit log that was made later.',
  statuses: [200],
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.string(),
});

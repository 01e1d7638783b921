import { z } from 'zod';
import * as internal from './audit-api.ts';
import { endpoint } from './endpoint.ts';

// The public side of the audit log: the same shapes as between services, for admins and ceos.

const common = { auth: 'bearer', params: z.undefined() } as const;

export const listAuditEntries = endpoint({ ...internal.listEntries, ...common, path: '/api/v1/audit/entries' });
export const readAuditCheckpoint = endpoint({
  ...internal.readCheckpoint,
  ...common,
  path: '/api/v1/audit/checkpoint',
});
export const exportAuditLog = endpoint({ ...internal.exportEntries, ...common, path: '/api/v1/audit/export' });

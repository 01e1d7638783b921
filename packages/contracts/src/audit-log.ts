import { z } from 'zod';
import * as internal from './audit-api.ts';
import { endpoint } from './endpoint.ts';

// The public interface of the audit log, for admins and ceos. It has the same shapes as the interface between services.

const common = { auth: 'bearer', params: z.undefined() } as const;

export const listAuditEntries = endpoint({ ...internal.listEntries, ...common, path: '/api/v1/audit/entries' });
export const readAuditCheckpoint = endpoint({
  ...internal.readCheckpoint,
  ...common,
  path: '/api/v1/audit/checkpoint',
});
export const exportAuditLog = endpoint({ ...internal.exportEntries, ...common, path: '/api/v1/audit/export' });

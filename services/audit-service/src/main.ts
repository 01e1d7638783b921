import { run } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { readAuditConfig } from './config.ts';
import { startAuditService } from './start.ts';

await run(readAuditConfig, startAuditService, { cannotStart: [SchemaRefused, DbRefused], away: [DbUnavailable] });

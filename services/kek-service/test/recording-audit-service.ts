import type { AuditEvent } from '@cardea/contracts/audit-event';
import { appendEvents } from '@cardea/contracts/audit-api';
import { createApp } from '@cardea/http/server/app';
import { createMetrics } from '@cardea/process/metrics';
import { peerName, readTlsIdentity } from '@cardea/http/mtls';
import { plainRoute } from '@cardea/http/server/route';
import { listen } from '@cardea/http/server/serve';
import type { Listening } from '@cardea/http/server/serve';
import { createRecordingLogger } from './recording-logger.ts';

/** Answers like audit-service, with the same contract and certificate, and keeps the events in memory. */
export async function startRecordingAuditService(tlsDir: string): Promise<Listening & { events: AuditEvent[] }> {
  const events: AuditEvent[] = [];
  const append = plainRoute(appendEvents, async ({ body }) => {
    const items = body.events.map(({ id }, index) => ({ id, seq: events.length + index, leaf: 'AAAA' }));
    events.push(...body.events);
    return { body: { items, size: events.length } };
  });
  const app = createApp({
    ctx: {
      logger: createRecordingLogger(),
      metrics: createMetrics('audit-service'),
      identify: async (req, _endpoint, requestId) => ({
        actor: { id: peerName(req) ?? 'unknown', type: 'service' },
        source: {},
        requestId,
      }),
      stranger: (_req, requestId) => ({ actor: { id: 'unknown', type: 'service' }, source: {}, requestId }),
      recordRefusal: async () => {},
      translate: () => undefined,
    },
    routes: [append],
  });
  const identity = readTlsIdentity(tlsDir, 'audit-service');
  const listening = await listen(app, { host: '127.0.0.1', port: 0, variable: 'CARDEA_AUDIT_PORT', identity });
  return Object.assign(listening, { events });
}

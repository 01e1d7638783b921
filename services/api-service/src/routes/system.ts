import { probeHealth, readHealth, readOpenApi } from '@cardea/contracts/system';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';

/** What shows nothing and so needs no record. The document is of all routes, these among them. */
export function systemRoutes(openApi: () => { openapi: string }): Route[] {
  return [
    plainRoute(readHealth, alive),
    plainRoute(probeHealth, alive),
    plainRoute(readOpenApi, async () => ({ body: openApi() })),
  ];
}

async function alive() {
  return { body: { status: 'ok' as const } };
}

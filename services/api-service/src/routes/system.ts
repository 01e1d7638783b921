import { probeHealth, readHealth, readOpenApi } from '@cardea/contracts/system';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';

/** Health and the OpenAPI document of all routes. They show nothing confidential, so they need no record. */
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

import { readHealth, readOpenApi } from '@cardea/contracts/system';
import { plainRoute } from '@cardea/http/route';
import type { Route } from '@cardea/http/route';

/** What shows nothing and so needs no record. */
export function systemRoutes(openApi: { openapi: string }): Route[] {
  return [
    plainRoute(readHealth, async () => ({ body: { status: 'ok' as const } })),
    plainRoute(readOpenApi, async () => ({ body: openApi })),
  ];
}

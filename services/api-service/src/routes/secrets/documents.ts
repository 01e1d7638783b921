import { DOCUMENT_BODY_BYTES_MAX, exportSecrets, importSecrets } from '@cardea/contracts/secrets/documents';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { createShares } from '@cardea/http/server/shares';
import { authorize, authorizeAll } from '@cardea/vault/authorize';
import type { VaultContext } from '@cardea/vault/context';
import * as exporting from '@cardea/vault/secrets/documents/export-secrets';
import * as importing from '@cardea/vault/secrets/documents/import-secrets';

/** Exports at once. Each holds up to 4 MiB of values until its client has taken them. */
const EXPORTS = { each: 1, together: 16, what: 'exports of secrets' };

export function documentRoutes(ctx: VaultContext): Route[] {
  const atOnce = createShares(EXPORTS);
  return [
    route(
      importSecrets,
      async ({ caller, params, body }) => {
        const imported = await importing.importSecrets(ctx, caller, params, body);
        return imported.map((items) => ({ body: { items, dryRun: body.dryRun } }));
      },
      {
        bodyBytesMax: DOCUMENT_BODY_BYTES_MAX,
        mayBegin: ({ caller, params }) => authorize(ctx, caller, 'secret.write', params),
      },
    ),

    route(
      exportSecrets,
      async ({ caller, params, body }) => {
        const exported = await exporting.exportSecrets(ctx, caller, params, body);
        return exported.map((document) => ({ body: { format: body.format, ...document } }));
      },
      { atOnce, mayBegin: ({ caller, params }) => authorizeAll(ctx, caller, ['secret.read', 'secret.list'], params) },
    ),
  ];
}

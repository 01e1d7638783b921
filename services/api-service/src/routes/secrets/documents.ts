import { DOCUMENT_BODY_BYTES_MAX, exportSecrets, importSecrets } from '@cardea/contracts/secrets/documents';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as exporting from '@cardea/vault/secrets/documents/export-secrets';
import * as importing from '@cardea/vault/secrets/documents/import-secrets';

export function documentRoutes(ctx: VaultContext): Route[] {
  return [
    route(
      importSecrets,
      async ({ caller, params, body }) => {
        const imported = await importing.importSecrets(ctx, caller, params, body);
        return imported.map((items) => ({ body: { items, dryRun: body.dryRun } }));
      },
      { bodyBytesMax: DOCUMENT_BODY_BYTES_MAX },
    ),

    route(exportSecrets, async ({ caller, params, body }) => {
      const exported = await exporting.exportSecrets(ctx, caller, params, body);
      return exported.map((document) => ({ body: { format: body.format, ...document } }));
    }),
  ];
}

import * as contract from '@cardea/contracts/keys/transfer';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { exportKey } from '@cardea/vault/keys/transfer/export-key';
import { createImportJob } from '@cardea/vault/keys/transfer/import-jobs';
import { importKey } from '@cardea/vault/keys/transfer/import-key';
import { keyWithPublicHalfToWire } from './keys.ts';

export function keyTransferRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.createImportJob, async ({ caller, params }) => {
      const created = await createImportJob(ctx, caller, params);
      return created.map(({ expiresAt, ...job }) => ({ body: { ...job, expiresAt: expiresAt.toISOString() } }));
    }),

    route(contract.importKey, async ({ caller, params, body }) => {
      const asked = 'publicKeyPem' in body ? body : withWrapped(body);
      const imported = await importKey(ctx, caller, { ...params, ...asked });
      return imported.map(({ isNew, ...key }) => ({ status: isNew ? 201 : 200, body: keyWithPublicHalfToWire(key) }));
    }),

    route(contract.exportKey, async ({ caller, params, body }) => {
      const exported = await exportKey(ctx, caller, { ...params, ...body });
      return exported.map(({ wrapped, ...rest }) => ({ body: { wrappedKeyBase64: toBase64(wrapped), ...rest } }));
    }),
  ];
}

function withWrapped<B extends { wrappedKeyBase64: string }>({ wrappedKeyBase64, ...body }: B) {
  return { ...body, wrapped: fromBase64(wrappedKeyBase64) };
}

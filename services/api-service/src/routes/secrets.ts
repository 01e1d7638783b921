import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import { getSecret, listSecrets, putSecret } from '@cardea/contracts/secrets';
import { route } from '@cardea/http/route';
import type { Route } from '@cardea/http/route';
import type { VaultContext } from '@cardea/vault/context';
import * as secrets from '@cardea/vault/secrets/secrets';

export function secretRoutes(ctx: VaultContext): Route[] {
  return [
    route(putSecret, async ({ caller, params, body, headers }) => {
      refuseConditions(headers);
      const { value, encoding, contentType } = body;
      const bytes = Buffer.from(value, encoding);
      const put = await secrets.putSecret(ctx, caller, params, { bytes, encoding, contentType });
      bytes.fill(0);
      return put.map((outcome) => ({
        status: outcome.changed && outcome.version === 1 ? 201 : 200,
        body: { ...outcome, createdAt: outcome.createdAt.toISOString() },
      }));
    }),

    route(listSecrets, async ({ caller, params, query }) => {
      const page = await secrets.listSecrets(ctx, caller, { ...params, ...query });
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(summaryToWire), ...rest } }));
    }),
  ];
}

/** The routes machines call all day: served in front of Express. */
export function hotRoutes(ctx: VaultContext): Route[] {
  return [
    route(getSecret, async ({ caller, params, query }) => {
      const read = await secrets.readSecret(ctx, caller, { ...params, ...query });
      return read.map((secret) => ({ headers: { ETag: `"${secret.version}"` }, body: secretToWire(secret) }));
    }),
  ];
}

// A condition that is not looked at would let the second of two writers overwrite the first unseen.
function refuseConditions(headers: IncomingHttpHeaders): void {
  if (headers['if-match'] === undefined && headers['if-none-match'] === undefined) return;
  throw new AppError('invalid_request', 'conditional writes (If-Match, If-None-Match) are not there yet');
}

function secretToWire({ name, version, bytes, encoding, contentType, createdAt }: secrets.Secret) {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(encoding);
  bytes.fill(0);
  return {
    name,
    version,
    value,
    encoding,
    ...(contentType ? { contentType } : {}),
    createdAt: createdAt.toISOString(),
  };
}

function summaryToWire({ createdAt, updatedAt, ...rest }: secrets.SecretSummary) {
  return { ...rest, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
}

import { NotModified } from '@cardea/contracts/audited';
import * as contract from '@cardea/contracts/keys/keys';
import type { PublicHalf } from '@cardea/crypto/keys/public-half';
import { JSON_TYPE, plainRoute, route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { isKnown, requireMatch } from '@cardea/vault/conditions';
import type { VaultContext } from '@cardea/vault/context';
import { deleteKey, restoreKey } from '@cardea/vault/keys/delete-key';
import { createKey } from '@cardea/vault/keys/create-key';
import { createJwksReader } from '@cardea/vault/keys/jwks';
import type { Key, KeyWithPublicHalf } from '@cardea/vault/keys/key';
import { changeKeyVersion, listKeyVersions } from '@cardea/vault/keys/key-versions';
import type { KeyVersion } from '@cardea/vault/keys/key-versions';
import { changeKey, listKeys, readKey } from '@cardea/vault/keys/keys';
import { rotateKey } from '@cardea/vault/keys/rotate-key';
import { optionalTime } from '../secrets/secret-wire.ts';

// As long as a verifier may go on without asking. It asks again for a key that it does not know.
const JWKS_CACHE = 'public, max-age=60';

export function keyRoutes(ctx: VaultContext): Route[] {
  const readJwks = createJwksReader(ctx);
  return [
    route(contract.createKey, async ({ caller, params, body }) => {
      const created = await createKey(ctx, caller, { ...params, ...body });
      return created.map((key) => ({ body: keyWithPublicHalfToWire(key) }));
    }),

    route(contract.listKeys, async ({ caller, params, query }) => {
      const page = await listKeys(ctx, caller, { ...params, ...query });
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(keyToWire), ...rest } }));
    }),

    route(contract.readKey, async ({ caller, params }) => {
      const read = await readKey(ctx, caller, params);
      return read.map((key) => ({ body: keyWithPublicHalfToWire(key) }));
    }),

    route(contract.changeKey, async ({ caller, params, body }) => {
      const changed = await changeKey(ctx, caller, params, body);
      return changed.map((key) => ({ body: keyToWire(key) }));
    }),

    route(contract.rotateKey, async ({ caller, params }) => {
      const rotated = await rotateKey(ctx, caller, params);
      return rotated.map((key) => ({ body: keyWithPublicHalfToWire(key) }));
    }),

    route(contract.listKeyVersions, async ({ caller, params, query }) => {
      const page = await listKeyVersions(ctx, caller, params, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(versionToWire), ...rest } }));
    }),

    route(contract.changeKeyVersion, async ({ caller, params, body }) => {
      const changed = await changeKeyVersion(ctx, caller, params, body);
      return changed.map((version) => ({ body: versionToWire(version) }));
    }),

    route(contract.deleteKey, async ({ caller, params, query }) => {
      const deleted = await deleteKey(ctx, caller, params, query);
      return deleted.map(({ deleteAt, lastUsedAt, ...rest }) => ({
        body: { ...rest, deleteAt: deleteAt.toISOString(), ...optionalTime({ lastUsedAt }) },
      }));
    }),

    route(contract.restoreKey, async ({ caller, params }) => {
      const restored = await restoreKey(ctx, caller, params);
      return restored.map((key) => ({ body: keyToWire(key) }));
    }),

    // What an owner has made public is not confidential, and needs no record.
    plainRoute(contract.readJwks, async ({ params, conditions }) => {
      const { text, tag } = await readJwks(params.vault);
      requireMatch(conditions, tag);
      const headers = { ETag: `"${tag}"`, 'Cache-Control': JWKS_CACHE };
      return isKnown(conditions, tag) ? new NotModified(headers) : { text, contentType: JSON_TYPE, headers };
    }),
  ];
}

function keyToWire({ createdAt, updatedAt, deleteAt, nextRotationAt, ...rest }: Key) {
  const times = { createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
  return { ...rest, ...times, ...optionalTime({ deleteAt, nextRotationAt }) };
}

export function keyWithPublicHalfToWire({ publicHalf, ...key }: KeyWithPublicHalf) {
  return { ...keyToWire(key), ...publicHalfToWire(publicHalf) };
}

function versionToWire({ publicHalf, createdAt, destroyedAt, uses, ...rest }: KeyVersion) {
  const shownUses = uses.map(({ lastUsedAt, ...use }) => ({ ...use, lastUsedAt: lastUsedAt.toISOString() }));
  const times = { createdAt: createdAt.toISOString(), ...optionalTime({ destroyedAt }) };
  return { ...rest, ...times, uses: shownUses, ...publicHalfToWire(publicHalf) };
}

function publicHalfToWire(publicHalf: PublicHalf | undefined) {
  return publicHalf && { publicKeyPem: publicHalf.pem, publicKeyJwk: publicHalf.jwk };
}

import { NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import {
  destroyVersions,
  generateSecret,
  getSecret,
  listVersions,
  moveSecret,
  patchSecret,
  putSecret,
  rollbackSecret,
} from '@cardea/contracts/secrets/secrets';
import { SECRET_BYTES_MAX } from '@cardea/contracts/secrets/secret-shapes';
import { preferredBareType } from '@cardea/http/server/accept';
import { BODY_BYTES_MAX, route } from '@cardea/http/server/route';
import type { Route, Target } from '@cardea/http/server/route';
import { authorize } from '@cardea/vault/authorize';
import type { VaultContext } from '@cardea/vault/context';
import * as destroying from '@cardea/vault/secrets/destroy-versions';
import * as generating from '@cardea/vault/secrets/generate-secret';
import { expiryOf } from '@cardea/vault/secrets/lifecycle/due';
import * as versions from '@cardea/vault/secrets/list-versions';
import * as moving from '@cardea/vault/secrets/move-secret';
import * as patching from '@cardea/vault/secrets/patch-secret';
import * as putting from '@cardea/vault/secrets/put-secret';
import { findCallerAndRows } from '@cardea/vault/secrets/read-rows';
import * as reading from '@cardea/vault/secrets/read-secret';
import * as rollingBack from '@cardea/vault/secrets/rollback-secret';
import type { SecretRef } from '@cardea/vault/secrets/secret';
import type { PutOutcome } from '@cardea/vault/secrets/write-version';
import {
  bareValue,
  dependantsHeader,
  optionalTime,
  optionsOf,
  outcomeToWire,
  secretToWire,
  summaryToWire,
  tagHeader,
  valueOf,
} from './secret-wire.ts';

export function secretRoutes(ctx: VaultContext): Route[] {
  return [
    route(
      putSecret,
      async ({ caller, params, body, conditions }) => {
        const value = valueOf(body);
        const options = optionsOf(body, ctx.now().getTime());
        const put = putting.putSecret(ctx, caller, params, { value, options, conditions });
        return (await put.finally(() => value.bytes.fill(0))).map(replyToPut);
      },
      bodyOfPut(ctx),
    ),

    route(patchSecret, async ({ caller, params, body, conditions }) => {
      const patch = { ...body, expiresAt: expiryOf(body, ctx.now().getTime()) };
      const patched = await patching.patchSecret(ctx, caller, params, { patch, conditions });
      return patched.map((summary) => ({ headers: tagHeader(summary), body: summaryToWire(summary) }));
    }),

    route(destroyVersions, async ({ caller, params, body, conditions }) => {
      const what = { ...body, conditions };
      const destroyed = await destroying.destroyVersions(ctx, caller, params, what);
      return destroyed.map((outcome) => ({ body: outcome }));
    }),

    route(rollbackSecret, async ({ caller, params, body, conditions }) => {
      const ref = { ...params, ...body };
      const rolledBack = await rollingBack.rollbackSecret(ctx, caller, ref, conditions);
      return rolledBack.map((outcome) => ({ ...replyToPut(outcome), status: 200 }));
    }),

    route(generateSecret, async ({ caller, params, body, conditions }) => {
      const { length, alphabet } = body;
      const options = optionsOf(body, ctx.now().getTime());
      const request = { length, alphabet, options, conditions };
      return (await generating.generateSecret(ctx, caller, params, request)).map(replyToPut);
    }),

    route(moveSecret, async ({ caller, params, body, conditions }) => {
      const to = { vault: body.vault ?? params.vault, name: body.name };
      const moved = await moving.moveSecret(ctx, caller, { from: params, to, conditions });
      return moved.map(({ vault, secret, dependants }) => ({
        headers: { ...tagHeader(secret), ...dependantsHeader(dependants) },
        body: { vault, ...summaryToWire(secret) },
      }));
    }),

    route(listVersions, async ({ caller, params, query }) => {
      const page = await versions.listVersions(ctx, caller, params, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(versionToWire), ...rest } }));
    }),
  ];
}

// With the usual limit a value fits into the body of any call, however it is escaped: six bytes for one.
function bodyOfPut(ctx: VaultContext) {
  const more = ctx.settings.secretBytesMax - SECRET_BYTES_MAX;
  if (more <= 0) return {};
  const mayBegin = ({ caller, params }: { caller: Caller; params: { vault: string; name: string } }) =>
    authorize(ctx, caller, 'secret.write', params);
  return { bodyBytesMax: BODY_BYTES_MAX + 6 * more, mayBegin };
}

/** The most frequent calls. They are served in front of Express. */
export function hotRoutes(ctx: VaultContext): Route[] {
  return [
    route(
      getSecret,
      async ({ caller, found, conditions, headers, ...target }) => {
        const how = { conditions, resolve: target.query.resolve === 'true', found };
        const read = await reading.readSecret(ctx, caller, refOf(target), how);
        if (read instanceof NotModified) return read;
        const bare = preferredBareType(headers.accept);
        return read.map((secret) => ({
          headers: { ETag: `"${secret.tag}"` },
          ...(bare ? bareValue(secret, bare) : { body: secretToWire(secret) }),
        }));
      },
      { findWithCaller: (claimed: Caller, target: ReadTarget) => findCallerAndRows(ctx, claimed, refOf(target)) },
    ),
  ];
}

type ReadTarget = Target<{ vault: string; name: string }, { version?: number | undefined }>;

function refOf({ params, query }: ReadTarget): SecretRef {
  return { ...params, version: query.version };
}

function replyToPut(outcome: PutOutcome) {
  return {
    status: outcome.isNew ? 201 : 200,
    headers: tagHeader(outcome),
    body: outcomeToWire(outcome),
  };
}

function versionToWire({ createdAt, expiresAt, destroyedAt, lastReadAt, breakGlass, ...rest }: versions.Version) {
  return {
    ...rest,
    createdAt: createdAt.toISOString(),
    ...optionalTime({ expiresAt, destroyedAt, lastReadAt }),
    ...(breakGlass ? { breakGlass: breakGlass.map((use) => ({ ...use, at: use.at.toISOString() })) } : {}),
  };
}

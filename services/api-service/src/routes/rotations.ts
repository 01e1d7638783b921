import * as contract from '@cardea/contracts/rotation';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { destroyKek, listKeks } from '@cardea/vault/rotation/kek-destruction';
import type { ListedKek } from '@cardea/vault/rotation/kek-destruction';
import { listRotations, readRotation, startRotation } from '@cardea/vault/rotation/rotations';
import type { Rotation, RotationFailure } from '@cardea/vault/rotation/rotations';
import { cancelRotation, pauseRotation, resumeRotation } from '@cardea/vault/rotation/steer-rotation';
import { empty } from './empty.ts';

export function rotationRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.startRotation, async ({ caller, body }) => {
      const started = await startRotation(ctx, caller, body);
      return started.map(({ id }) => ({ body: { id }, headers: { Location: `/api/v1/rotations/${id}` } }));
    }),

    route(contract.listRotations, async ({ caller, query }) => {
      const page = await listRotations(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(toWire), ...rest } }));
    }),

    route(contract.readRotation, async ({ caller, params }) => {
      const read = await readRotation(ctx, caller, params.id);
      return read.map(({ failures, ...rotation }) => ({
        body: { ...toWire(rotation), failures: failures.map(failureToWire) },
      }));
    }),

    route(contract.pauseRotation, async ({ caller, params }) => {
      const paused = await pauseRotation(ctx, caller, params.id);
      return paused.map((rotation) => ({ body: toWire(rotation) }));
    }),

    route(contract.resumeRotation, async ({ caller, params }) => {
      const resumed = await resumeRotation(ctx, caller, params.id);
      return resumed.map((rotation) => ({ body: toWire(rotation) }));
    }),

    route(contract.cancelRotation, async ({ caller, params }) => {
      const cancelled = await cancelRotation(ctx, caller, params.id);
      return cancelled.map((rotation) => ({ body: toWire(rotation) }));
    }),

    route(contract.listKekVersions, async ({ caller }) => {
      const listed = await listKeks(ctx, caller);
      return listed.map((items) => ({ body: { items: items.map(kekToWire) } }));
    }),

    route(contract.destroyKekVersion, async ({ caller, params }) =>
      (await destroyKek(ctx, caller, params.version)).map(empty),
    ),
  ];
}

function toWire({ startedAt, finishedAt, estimatedEnd, ...rest }: Rotation) {
  return {
    ...rest,
    startedAt: startedAt.toISOString(),
    ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
    ...(estimatedEnd && { estimatedEnd: estimatedEnd.toISOString() }),
  };
}

function failureToWire({ foundAt, ...rest }: RotationFailure) {
  return { ...rest, foundAt: foundAt.toISOString() };
}

function kekToWire({ requestId, ...rest }: ListedKek) {
  return { ...rest, ...(requestId === null ? {} : { rotation: requestId }) };
}

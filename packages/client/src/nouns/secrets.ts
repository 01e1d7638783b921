import type { breakGlass } from '@cardea/contracts/secrets/break-glass';
import type * as lifecycle from '@cardea/contracts/secrets/lifecycle';
import type * as secrets from '@cardea/contracts/secrets/secrets';
import { parseAddress } from '../address.ts';
import type { Address, AddressText } from '../address.ts';
import { toValue } from '../bytes.ts';
import { call } from '../call.ts';
import type { AnswerOf, BodyOf, Conditions } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import { sleep } from '../repeat.ts';
import type { CallOptions } from '../transport.ts';

const ONE = '/vaults/{vault}/secrets/{+name}';

const calls = {
  put: call<typeof secrets.putSecret>('PUT', ONE),
  get: call<typeof secrets.getSecret>('GET', ONE),
  change: call<typeof secrets.patchSecret>('PATCH', ONE),
  delete: call<typeof lifecycle.deleteSecret>('DELETE', ONE),
  restore: call<typeof lifecycle.restoreSecret>('POST', `${ONE}:restore`),
  purge: call<typeof lifecycle.purgeSecret>('POST', `${ONE}:purge`),
  destroy: call<typeof secrets.destroyVersions>('POST', `${ONE}:destroy`),
  rollback: call<typeof secrets.rollbackSecret>('POST', `${ONE}:rollback`),
  generate: call<typeof secrets.generateSecret>('POST', `${ONE}:generate`),
  versions: call<typeof secrets.listVersions>('GET', `${ONE}:versions`),
  move: call<typeof secrets.moveSecret>('POST', `${ONE}:move`),
  breakGlass: call<typeof breakGlass>('POST', `${ONE}:breakGlass`),
};

export type Secret = AnswerOf<typeof secrets.getSecret>;

/** Options of a change: only if the secret is as the caller knows it. */
export interface ChangeOptions extends CallOptions, Conditions {
  ifNot?: never;
}

type PutOptions = Omit<BodyOf<typeof secrets.putSecret>, 'value' | 'encoding'> & ChangeOptions;

/** The calls of one secret. */
export function secretCalls(sender: Sender) {
  return {
    /** Reads the version of the address, or the newest. References are followed unless `resolve` is false. */
    async get(address: AddressText | Address, { resolve, ...options }: CallOptions & { resolve?: boolean } = {}) {
      const { version, ...params } = place(address);
      const query = { version, ...(resolve === false ? { resolve: 'false' as const } : {}) };
      return await sender.body(calls.get, { params, query }, options);
    },

    /** Reads a secret unless `version` is still its newest version. Then the result is undefined. */
    async getUnless(
      address: AddressText | Address,
      version: number,
      options?: CallOptions,
    ): Promise<Secret | undefined> {
      const { vault, name } = place(address);
      const request = { params: { vault, name }, conditions: { ifNot: version } };
      const { status, body } = await sender.answer(calls.get, request, options);
      return status === 304 ? undefined : body;
    },

    /** Gives the newest version now, and each later one soon after it is written, until `signal` ends it. */
    async *watch(
      address: AddressText | Address,
      { everySeconds = 30, ...options }: CallOptions & { everySeconds?: number } = {},
    ): AsyncGenerator<Secret> {
      let known = 0;
      for (;;) {
        const secret = await this.getUnless(address, known, options);
        if (secret) {
          known = secret.version;
          yield secret;
        }
        await sleep(everySeconds * 1_000, options.signal);
      }
    },

    /** Stores text, or bytes, as the newest version. The value that is there already makes no new version. */
    async put(address: AddressText | Address, value: string | Uint8Array, options: PutOptions = {}) {
      const { signal, timeoutMs, ifMatch, ifNew, ...rest } = options;
      const request = { params: place(address), body: { ...toValue(value), ...rest }, ...guard({ ifMatch, ifNew }) };
      return await sender.body(calls.put, request, { signal, timeoutMs });
    },

    /** Changes metadata, expiry and limit of versions. null clears a field. */
    change: (address: AddressText | Address, changes: BodyOf<typeof secrets.patchSecret>, options?: ChangeOptions) =>
      sender.body(calls.change, { params: place(address), body: changes, ...guard(options) }, options),

    /** Puts a secret into the trash. `dependants` is the number of references to it that the caller may list. */
    async delete(address: AddressText | Address, options?: ChangeOptions): Promise<{ dependants: number }> {
      const { headers } = await sender.answer(calls.delete, { params: place(address), ...guard(options) }, options);
      return { dependants: Number(headers.get('Cardea-Dependants') ?? 0) };
    },

    /** Takes a secret out of the trash. */
    restore: (address: AddressText | Address, options?: ChangeOptions) =>
      sender.body(calls.restore, { params: place(address), ...guard(options) }, options),

    /** Removes a secret with all its versions for ever. */
    purge: (address: AddressText | Address, options?: ChangeOptions) =>
      sender.body(calls.purge, { params: place(address), ...guard(options) }, options),

    /** Destroys the values of versions for ever. */
    destroy: (address: AddressText | Address, versions: number[], options?: ChangeOptions) =>
      sender.body(calls.destroy, { params: place(address), body: { versions }, ...guard(options) }, options),

    /** Stores the value of an old version as the newest. */
    rollback: (address: AddressText | Address, version: number, options?: ChangeOptions) =>
      sender.body(calls.rollback, { params: place(address), body: { version }, ...guard(options) }, options),

    /** Stores a random value, and does not show it. */
    async generate(
      address: AddressText | Address,
      { signal, timeoutMs, ifMatch, ifNew, ...body }: BodyOf<typeof secrets.generateSecret> & ChangeOptions = {},
    ) {
      const request = { params: place(address), body, ...guard({ ifMatch, ifNew }) };
      return await sender.body(calls.generate, request, { signal, timeoutMs });
    },

    /** The versions of a secret, the newest first. */
    versions: (address: AddressText | Address, options?: ListOptions) =>
      listOf(sender, calls.versions, { params: place(address) }, options),

    /** Moves a secret with its versions. References to the old name are not changed. */
    move: (address: AddressText | Address, to: AddressText | Address, options?: ChangeOptions) =>
      sender.body(calls.move, { params: place(address), body: place(to), ...guard(options) }, options),

    /** Reads a value for oversight, with a reason of 10 characters or more. The owners of the vault are told. */
    breakGlass: (address: AddressText | Address, reason: string, options?: CallOptions) =>
      sender.body(calls.breakGlass, { params: place(address), body: { reason } }, options),
  };
}

function place(address: AddressText | Address): Address {
  return typeof address === 'string' ? parseAddress(address) : address;
}

function guard({ ifMatch, ifNew }: Conditions = {}): { conditions?: Conditions } {
  return ifMatch === undefined && ifNew !== true ? {} : { conditions: { ifMatch, ifNew } };
}

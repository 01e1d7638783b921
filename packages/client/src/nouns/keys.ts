import type { Endpoint } from '@cardea/contracts/endpoint';
import type * as keys from '@cardea/contracts/keys/keys';
import type * as operations from '@cardea/contracts/keys/operations';
import type * as transfer from '@cardea/contracts/keys/transfer';
import { parseAddress } from '../address.ts';
import type { Address, AddressText } from '../address.ts';
import { fromBase64 } from '../bytes.ts';
import { call } from '../call.ts';
import { refused } from '../errors.ts';
import type { AnswerOf, BodyOf, Call } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const ALL = '/vaults/{vault}/keys';
const ONE = `${ALL}/{name}`;

const calls = {
  create: call<typeof keys.createKey>('POST', ALL),
  list: call<typeof keys.listKeys>('GET', ALL),
  get: call<typeof keys.readKey>('GET', ONE),
  change: call<typeof keys.changeKey>('PATCH', ONE),
  rotate: call<typeof keys.rotateKey>('POST', `${ONE}:rotate`),
  versions: call<typeof keys.listKeyVersions>('GET', `${ONE}:versions`),
  changeVersion: call<typeof keys.changeKeyVersion>('PATCH', `${ONE}/versions/{version}`),
  delete: call<typeof keys.deleteKey>('DELETE', ONE),
  restore: call<typeof keys.restoreKey>('POST', `${ONE}:restore`),
  jwks: call<typeof keys.readJwks>('GET', `${ALL}:jwks`),
  createImportJob: call<typeof transfer.createImportJob>('POST', `${ALL}:importJob`),
  import: call<typeof transfer.importKey>('POST', `${ONE}:import`),
  export: call<typeof transfer.exportKey>('POST', `${ONE}:export`, true),
  random: call<typeof operations.generateRandom>('POST', '/random', true),
};

/** What a key does with data. It changes nothing, so it may be repeated. */
function operation<E extends Endpoint>(verb: string): Call<E> {
  return call<E>('POST', `${ONE}:${verb}`, true);
}

/** The answer to one item, or to `items`. */
type AnswerTo<E extends Endpoint, B> = B extends { items: unknown }
  ? Extract<AnswerOf<E>, { items: unknown }>
  : Exclude<AnswerOf<E>, { items: unknown }>;

/** The calls of keys. Each operation takes one item, or up to 500 as `items`, in the fields of the contract. */
export function keyCalls(sender: Sender) {
  const use =
    <E extends Endpoint>(verb: string) =>
    async <B extends BodyOf<E>>(
      key: AddressText | Address,
      body: B,
      options?: CallOptions,
    ): Promise<AnswerTo<E, B>> => {
      const answer = await sender.body(operation<E>(verb), { params: place(key), body } as object, options);
      return answer as AnswerTo<E, B>;
    };

  return {
    create: (vault: string, key: BodyOf<typeof keys.createKey>, options?: CallOptions) =>
      sender.body(calls.create, { params: { vault }, body: key }, options),

    list: (vault: string, options?: ListOptions) => listOf(sender, calls.list, { params: { vault } }, options),

    /** A key without its material, with the public half of its newest version. */
    get: (key: AddressText | Address, options?: CallOptions) => sender.body(calls.get, { params: place(key) }, options),

    change: (key: AddressText | Address, changes: BodyOf<typeof keys.changeKey>, options?: CallOptions) =>
      sender.body(calls.change, { params: place(key), body: changes }, options),

    /** Makes a new version, which encrypts and signs from now on. */
    rotate: (key: AddressText | Address, options?: CallOptions) =>
      sender.body(calls.rotate, { params: place(key) }, options),

    versions: (key: AddressText | Address, options?: ListOptions) =>
      listOf(sender, calls.versions, { params: place(key) }, options),

    /** Enables, disables or destroys the version of the address. */
    changeVersion: (key: AddressText | Address, change: BodyOf<typeof keys.changeKeyVersion>, options?: CallOptions) =>
      sender.body(calls.changeVersion, { params: withVersion(key), body: change }, options),

    /** Deletes a key after some days (7 to 30). Until then `restore` takes it back. */
    delete: (key: AddressText | Address, { pendingDays, ...options }: CallOptions & { pendingDays?: number } = {}) =>
      sender.body(calls.delete, { params: place(key), query: { pendingDays } as { pendingDays?: number } }, options),

    restore: (key: AddressText | Address, options?: CallOptions) =>
      sender.body(calls.restore, { params: place(key) }, options),

    /** The public halves of the keys of a vault that publishes them. Needs no sign-in. */
    jwks: (vault: string, options?: CallOptions) => sender.open(calls.jwks, { params: { vault } }, options),

    createImportJob: (vault: string, options?: CallOptions) =>
      sender.body(calls.createImportJob, { params: { vault } }, options),

    import: (key: AddressText | Address, material: BodyOf<typeof transfer.importKey>, options?: CallOptions) =>
      sender.body(calls.import, { params: place(key), body: material }, options),

    /** An exportable key, wrapped to an RSA key. */
    export: (key: AddressText | Address, to: BodyOf<typeof transfer.exportKey>, options?: CallOptions) =>
      sender.body(calls.export, { params: place(key), body: to }, options),

    encrypt: use<typeof operations.encrypt>('encrypt'),
    decrypt: use<typeof operations.decrypt>('decrypt'),
    rewrap: use<typeof operations.rewrap>('rewrap'),
    generateDataKey: use<typeof operations.generateDataKey>('generateDataKey'),
    generateDataKeyWithoutPlaintext: use<typeof operations.generateDataKeyWithoutPlaintext>(
      'generateDataKeyWithoutPlaintext',
    ),
    sign: use<typeof operations.sign>('sign'),
    verify: use<typeof operations.verify>('verify'),
    mac: use<typeof operations.mac>('mac'),
    verifyMac: use<typeof operations.verifyMac>('verifyMac'),
    deriveSharedSecret: use<typeof operations.deriveSharedSecret>('deriveSharedSecret'),
    encapsulate: use<typeof operations.encapsulate>('encapsulate'),
    decapsulate: use<typeof operations.decapsulate>('decapsulate'),
    signJws: use<typeof operations.signJws>('signJws'),
    verifyJws: use<typeof operations.verifyJws>('verifyJws'),

    /** Random bytes, 1 to 65,536. */
    async random(bytes: number, options?: CallOptions): Promise<Uint8Array> {
      const { bytesBase64 } = await sender.body(calls.random, { body: { bytes } }, options);
      return fromBase64(bytesBase64);
    },
  };
}

function place(key: AddressText | Address): { vault: string; name: string } {
  const { vault, name } = typeof key === 'string' ? parseAddress(key) : key;
  return { vault, name };
}

function withVersion(key: AddressText | Address): { vault: string; name: string; version: number } {
  const { vault, name, version } = typeof key === 'string' ? parseAddress(key) : key;
  if (version === undefined) throw refused(`"${vault}/${name}" needs a version, as in ${vault}/${name}@3`);
  return { vault, name, version };
}

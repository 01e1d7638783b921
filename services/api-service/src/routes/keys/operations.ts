import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import { KEY_BODY_BYTES_MAX } from '@cardea/contracts/keys/key-shapes';
import * as contract from '@cardea/contracts/keys/operations';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { route } from '@cardea/http/server/route';
import type { Route, Target } from '@cardea/http/server/route';
import { authorizeFound } from '@cardea/vault/authorize';
import type { VaultContext } from '@cardea/vault/context';
import type { KeyRef } from '@cardea/vault/keys/key';
import { generateRandom } from '@cardea/vault/keys/random';
import * as agreement from '@cardea/vault/keys/use/agreement';
import * as authentication from '@cardea/vault/keys/use/authentication';
import * as encryption from '@cardea/vault/keys/use/encryption';
import * as jws from '@cardea/vault/keys/use/jws';
import { findCallerAndKey } from '@cardea/vault/keys/use/use-rows';
import type { UseRows } from '@cardea/vault/keys/use/use-rows';
import type { DataKeyItem } from '@cardea/vault/keys/use/encryption';

/** What machines do with keys all day, for one item or a batch. Served in front of Express. */
export function hotKeyRoutes(ctx: VaultContext): Route[] {
  return [
    route(
      contract.encrypt,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ plaintextBase64, associatedDataBase64, contextBase64, keyVersion }) => ({
          plaintext: fromBase64(plaintextBase64),
          associatedData: dataOf(associatedDataBase64),
          context: contextOf(contextBase64),
          keyVersion,
        }));
        const encrypted = encryption.encrypt(ctx, caller, { ...params, found }, items).finally(() => {
          for (const { plaintext } of items.items) plaintext.fill(0);
        });
        return (await encrypted).map((results) => answer(items, results, ciphertextToWire));
      },
      useOf(ctx, 'key.encrypt'),
    ),

    route(
      contract.decrypt,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ associatedDataBase64, contextBase64, ...item }) => ({
          ...item,
          associatedData: dataOf(associatedDataBase64),
          context: contextOf(contextBase64),
        }));
        const decrypted = await encryption.decrypt(ctx, caller, { ...params, found }, items);
        return decrypted.map((results) =>
          answer(items, results, ({ plaintext, keyVersion }) => ({ plaintextBase64: shown(plaintext), keyVersion })),
        );
      },
      useOf(ctx, 'key.decrypt'),
    ),

    route(
      contract.sign,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, withSigned);
        const signed = await authentication.sign(ctx, caller, { ...params, found }, items);
        return signed.map((results) =>
          answer(items, results, ({ proof, keyVersion }) => ({ signature: proof, keyVersion })),
        );
      },
      useOf(ctx, 'key.sign'),
    ),

    route(
      contract.verify,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ signature, ...item }) => ({ ...withSigned(item), proof: signature }));
        const verified = await authentication.verify(ctx, caller, { ...params, found }, items);
        return verified.map((results) => answer(items, results, ({ valid }) => ({ valid })));
      },
      useOf(ctx, 'key.verify'),
    ),

    route(
      contract.mac,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ contextBase64, ...item }) => ({
          ...withMessage(item),
          context: contextOf(contextBase64),
        }));
        const made = await authentication.mac(ctx, caller, { ...params, found }, items);
        return made.map((results) => answer(items, results, ({ proof, keyVersion }) => ({ mac: proof, keyVersion })));
      },
      useOf(ctx, 'key.sign'),
    ),

    route(
      contract.verifyMac,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ mac, contextBase64, ...item }) => ({
          ...withMessage(item),
          context: contextOf(contextBase64),
          proof: mac,
        }));
        const verified = await authentication.verifyMac(ctx, caller, { ...params, found }, items);
        return verified.map((results) => answer(items, results, ({ valid }) => ({ valid })));
      },
      useOf(ctx, 'key.verify'),
    ),

    route(
      contract.signJws,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ payloadBase64, protectedHeader = {}, contextBase64, ...item }) => ({
          ...item,
          protectedHeader,
          context: contextOf(contextBase64),
          payload: fromBase64(payloadBase64),
        }));
        const signed = await jws.signJws(ctx, caller, { ...params, found }, items);
        return signed.map((results) => answer(items, results, (made) => made));
      },
      useOf(ctx, 'key.sign'),
    ),

    route(
      contract.verifyJws,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ jws, contextBase64 }) => ({ jws, context: contextOf(contextBase64) }));
        const verified = await jws.verifyJws(ctx, caller, { ...params, found }, items);
        return verified.map((results) => answer(items, results, ({ valid }) => ({ valid })));
      },
      useOf(ctx, 'key.verify'),
    ),

    route(
      contract.deriveSharedSecret,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, (item) => item);
        const agreed = await agreement.deriveSharedSecrets(ctx, caller, { ...params, found }, items);
        return agreed.map((results) => answer(items, results, secretToWire));
      },
      useOf(ctx, 'key.decrypt'),
    ),

    route(
      contract.encapsulate,
      async ({ caller, params, found, body = {} }) => {
        const items = itemsOf(body, (item) => item);
        const made = await agreement.encapsulate(ctx, caller, { ...params, found }, items);
        return made.map((results) =>
          answer(items, results, ({ ciphertext, ...secret }) => ({ ...secretToWire(secret), ciphertext })),
        );
      },
      useOf(ctx, 'key.encrypt'),
    ),

    route(
      contract.decapsulate,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, (item) => item);
        const opened = await agreement.decapsulate(ctx, caller, { ...params, found }, items);
        return opened.map((results) => answer(items, results, secretToWire));
      },
      useOf(ctx, 'key.decrypt'),
    ),
  ];
}

/** What else is done with keys. */
export function keyOperationRoutes(ctx: VaultContext): Route[] {
  return [
    route(
      contract.rewrap,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, ({ ciphertext, newAssociatedDataBase64: newData, ...item }) => ({
          ciphertext,
          associatedData: dataOf(item.associatedDataBase64),
          newAssociatedData: newData === undefined ? undefined : fromBase64(newData),
          context: contextOf(item.contextBase64),
        }));
        const rewrapped = await encryption.rewrap(ctx, caller, { ...params, found }, items);
        return rewrapped.map((results) => answer(items, results, ciphertextToWire));
      },
      useOf(ctx, 'key.encrypt'),
    ),

    route(
      contract.generateDataKey,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, dataKeyOf);
        const how = { ...items, showsPlaintext: true };
        return (await encryption.generateDataKeys(ctx, caller, { ...params, found }, how)).map((results) =>
          answer(items, results, ({ plaintext, ...made }) => ({
            plaintextBase64: shown(plaintext),
            ...ciphertextToWire(made),
          })),
        );
      },
      useOf(ctx, 'key.encrypt'),
    ),

    route(
      contract.generateDataKeyWithoutPlaintext,
      async ({ caller, params, found, body }) => {
        const items = itemsOf(body, dataKeyOf);
        const how = { ...items, showsPlaintext: false };
        const made = await encryption.generateDataKeys(ctx, caller, { ...params, found }, how);
        return made.map((results) => answer(items, results, ciphertextToWire));
      },
      useOf(ctx, 'key.encrypt'),
    ),

    route(contract.generateRandom, async ({ caller, body }) => {
      const random = await generateRandom(ctx, caller, body);
      return random.map((bytes) => ({ body: { bytesBase64: shown(bytes) } }));
    }),
  ];
}

// Who may send so large a body is decided before it is read. It may say that the call needs another right too: that is
// decided after it was read.
function useOf(ctx: VaultContext, right: VaultAction) {
  return {
    bodyBytesMax: KEY_BODY_BYTES_MAX,
    findWithCaller: (claimed: Caller, { params }: Target<KeyRef, object>) =>
      findCallerAndKey(ctx, claimed, params, right),
    mayBegin: ({ caller, params, found }: { caller: Caller; params: KeyRef; found: UseRows }) =>
      authorizeFound(ctx, caller, right, { found: found.grantedIn, name: params.name }),
  };
}

interface Mapped<T> {
  items: T[];
  isBatch: boolean;
}

/** The items of a body that the contract has parsed: the item is the body itself, unless it is a batch. */
function itemsOf<Item extends object, T>(body: { items?: Item[] | undefined }, toItem: (item: Item) => T): Mapped<T> {
  const { items, ...single } = body;
  return { items: (items ?? [single as Item]).map((item) => toItem(item)), isBatch: items !== undefined };
}

/** One result, or a result or an error for each item of a batch. */
function answer<Result, Wire>(
  { isBatch }: Mapped<unknown>,
  results: (Result | AppError)[],
  toWire: (result: Result) => Wire,
) {
  const items = results.map((result) =>
    result instanceof AppError ? { error: { code: result.code, detail: result.message } } : toWire(result),
  );
  // The refusal of a single item was thrown.
  return { body: isBatch ? { items } : (items[0] as Wire) };
}

function dataOf(base64: string | undefined): Uint8Array {
  return base64 === undefined ? new Uint8Array(0) : fromBase64(base64);
}

function contextOf(base64: string | undefined): Uint8Array | undefined {
  return base64 === undefined ? undefined : fromBase64(base64);
}

function withMessage<Item extends { messageBase64: string }>({ messageBase64, ...item }: Item) {
  return { ...item, message: fromBase64(messageBase64) };
}

// The contract has seen that there is exactly one of the two.
function withSigned<Item extends { messageBase64?: string | undefined; digestBase64?: string | undefined }>({
  messageBase64,
  digestBase64,
  ...item
}: Item) {
  if (digestBase64 !== undefined) return { ...item, digest: fromBase64(digestBase64) };
  return { ...item, message: fromBase64(messageBase64!) };
}

function dataKeyOf({
  associatedDataBase64,
  contextBase64,
  ...item
}: Omit<DataKeyItem, 'associatedData' | 'context'> & {
  associatedDataBase64?: string | undefined;
  contextBase64?: string | undefined;
}): DataKeyItem {
  return { ...item, associatedData: dataOf(associatedDataBase64), context: contextOf(contextBase64) };
}

function ciphertextToWire({ ciphertext, keyVersion }: encryption.Ciphertext) {
  return { ciphertext, keyVersion };
}

function secretToWire({ secret, keyVersion }: agreement.SharedSecret) {
  return { sharedSecretBase64: shown(secret), keyVersion };
}

/** Bytes as text. Overwrites the bytes. */
function shown(bytes: Uint8Array): string {
  const text = toBase64(bytes);
  bytes.fill(0);
  return text;
}

import type * as bulk from '@cardea/contracts/secrets/bulk';
import type * as documents from '@cardea/contracts/secrets/documents';
import type * as listing from '@cardea/contracts/secrets/listing';
import { parsePlace } from '../address.ts';
import { call } from '../call.ts';
import type { BodyOf, ItemOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { List, ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const ALL = '/vaults/{vault}/secrets';

const calls = {
  list: call<typeof listing.listSecrets>('GET', ALL),
  search: call<typeof listing.searchSecrets>('GET', '/secrets'),
  readMany: call<typeof bulk.batchRead>('POST', `${ALL}:batchRead`, true),
  // A value that is there already makes no new version.
  putMany: call<typeof bulk.batchWrite>('POST', `${ALL}:batchWrite`, true),
  deleteMany: call<typeof bulk.deleteSecrets>('POST', `${ALL}:delete`),
  moveMany: call<typeof bulk.moveSecrets>('POST', `${ALL}:move`),
  import: call<typeof documents.importSecrets>('POST', `${ALL}:import`, true),
  export: call<typeof documents.exportSecrets>('POST', `${ALL}:export`, true),
};

type Listed = ItemOf<typeof listing.listSecrets>;
/** A secret without its value. */
export type SecretSummary = Extract<Listed, { name: string }>;

interface Filters extends ListOptions {
  /** Beginnings of words of the name. */
  q?: string | undefined;
  /** The trash instead. */
  deleted?: boolean | undefined;
  /** Those that expire before this time, the soonest first. */
  expiringBefore?: string | undefined;
}

interface Criteria extends ListOptions {
  /** Beginnings of words of the name. */
  q?: string | undefined;
  /** Metadata that a secret must have. */
  metadata?: Record<string, string> | undefined;
}

/** The calls of several secrets. */
export function secretsCalls(sender: Sender) {
  return {
    /** The secrets of `payments`, or those whose names begin as in `payments/db/`, without their values. */
    list(where: string, { q, deleted, expiringBefore, ...options }: Filters = {}): List<SecretSummary> {
      const { vault, prefix } = parsePlace(where);
      const query = { prefix, q, expiringBefore, ...(deleted === true ? { deleted: 'true' as const } : {}) };
      // Only a delimiter makes items without a name.
      return listOf(sender, calls.list, { params: { vault }, query }, options) as List<SecretSummary>;
    },

    /** Like `list`, but everything below another `/` is one item `{ prefix }`, as folders are. */
    folders(where: string, options?: ListOptions): List<Listed> {
      const { vault, prefix } = parsePlace(where);
      return listOf(sender, calls.list, { params: { vault }, query: { prefix, delimiter: '/' } }, options);
    },

    /** Searches in every vault that the caller may list. */
    search({ q, metadata = {}, ...options }: Criteria) {
      const labels = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value]);
      return listOf(sender, calls.search, { query: { q, ...Object.fromEntries(labels) } }, options);
    },

    /** Reads up to 100 secrets of one point in time, all or nothing. */
    async readMany(vault: string, names: string[], options?: CallOptions) {
      const { items } = await sender.body(calls.readMany, { params: { vault }, body: { names } }, options);
      return items;
    },

    /** Writes up to 100 secrets, all or nothing. */
    async putMany(vault: string, secrets: BodyOf<typeof bulk.batchWrite>['secrets'], options?: CallOptions) {
      const { items } = await sender.body(calls.putMany, { params: { vault }, body: { secrets } }, options);
      return items;
    },

    /** Puts secrets into the trash, by names or by a prefix. A dry run only lists them. */
    deleteMany: (vault: string, which: BodyOf<typeof bulk.deleteSecrets>, options?: CallOptions) =>
      sender.body(calls.deleteMany, { params: { vault }, body: which }, options),

    /** Moves all secrets under a prefix. A dry run only lists them. */
    moveMany: (vault: string, move: BodyOf<typeof bulk.moveSecrets>, options?: CallOptions) =>
      sender.body(calls.moveMany, { params: { vault }, body: move }, options),

    /** Writes the secrets of a document, all or nothing. A dry run tells what an import would do. */
    import: (vault: string, document: BodyOf<typeof documents.importSecrets>, options?: CallOptions) =>
      sender.body(calls.import, { params: { vault }, body: document }, options),

    /** The newest values of a vault or of a prefix as one document. */
    export: (vault: string, what: BodyOf<typeof documents.exportSecrets>, options?: CallOptions) =>
      sender.body(calls.export, { params: { vault }, body: what }, options),
  };
}

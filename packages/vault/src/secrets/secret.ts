import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';

/** Names one version of a secret; the newest if `version` is not given. */
export interface SecretRef {
  vault: string;
  name: string;
  version?: number | undefined;
}

/** A value as it is stored: the bytes, the encoding the caller wrote them in, and their content type. */
export interface SecretValue {
  bytes: Uint8Array;
  encoding: 'utf8' | 'base64';
  contentType?: string | undefined;
}

/** One version of a secret, open. */
export interface Secret extends SecretValue {
  name: string;
  version: number;
  metadata: Metadata;
  createdAt: Date;
  expiresAt?: Date | undefined;
  /** The version that a reference led to. */
  target?: { vault: string; name: string; version: number };
  /** Changes whenever the value does. Made of the version; for a reference, of all versions in its chain. */
  tag: string;
}

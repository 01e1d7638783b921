import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';

/** Names one secret; without a version, its newest one. */
export interface SecretRef {
  vault: string;
  name: string;
  version?: number | undefined;
}

/** A value as it is kept: bytes, how the caller wrote them, and of what kind they are. */
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
  /** What a reference led to. */
  target?: { vault: string; name: string; version: number };
  /** Changes whenever what is read does: the version, and of a reference the versions on the way. */
  tag: string;
}

import type { SecretValue } from '../secret.ts';

/** A secret in a document. */
export interface DocumentItem {
  /** Relative to a prefix. Empty for the secret whose name is the prefix itself. Not checked to be a valid name. */
  name: string;
  value: SecretValue;
}

export interface ParsedItem extends DocumentItem {
  /** The line of the secret in the document, from 1. */
  line: number;
}

import type { SecretValue } from '../secret.ts';

/** A secret as a document has it. */
export interface DocumentItem {
  /** Relative to a prefix; empty for the secret that is called as the prefix itself. Whether it is a name is not looked at. */
  name: string;
  value: SecretValue;
}

export interface ParsedItem extends DocumentItem {
  /** Where in the document it stands, from 1. */
  line: number;
}

import { parseBase64, toText } from '@cardea/crypto/encoding';
import type { SecretValue } from '../secret.ts';
import { malformed } from './malformed.ts';

/** @throws AppError `invalid_request` for a lone surrogate, because it would become another character */
export function textValue(text: string, line: number): SecretValue {
  if (!text.isWellFormed()) throw malformed(line, 'the value is not well-formed text');
  return { bytes: Buffer.from(text, 'utf8'), encoding: 'utf8' };
}

/** @throws AppError `invalid_request` for text that is not standard base64 */
export function base64Value(text: string, line: number): SecretValue {
  const bytes = parseBase64(text);
  if (!bytes) throw malformed(line, 'the value is not standard base64');
  return { bytes, encoding: 'base64' };
}

/** The value as it is written in a document. */
export function shown({ bytes, encoding }: SecretValue): string {
  return toText(bytes, encoding);
}

import { sha256 } from '@cardea/crypto/ids';

/** A share of a seal key, as somebody keeps it. */
export interface Share {
  /** The last 16 hex digits of the seal's id. */
  setId: string;
  /** How many shares of the set open the seal. */
  threshold: number;
  /** Which one it is, from 1. */
  index: number;
  /** 33 bytes: 32 of the share, and the point that it is for. */
  bytes: Uint8Array;
}

const FORM = /^(cs1-([0-9a-f]{16})-([1-9]\d{0,2})-([1-9]\d{0,2})-([0-9a-f]{66}))-([0-9a-f]{8})$/;
const CHECKSUM_CHARACTERS = 8;

/** The set that the shares of a seal belong to. */
export function setIdOf(sealId: string): string {
  return sealId.replaceAll('-', '').slice(-16);
}

/** A share as text to print: `cs1-<set>-<threshold>-<index>-<bytes in hex>-<checksum>`. */
export function formatShare({ setId, threshold, index, bytes }: Share): string {
  const text = `cs1-${setId}-${threshold}-${index}-${Buffer.from(bytes).toString('hex')}`;
  return `${text}-${checksum(text)}`;
}

/**
 * Reads what somebody typed: blanks, line breaks and capitals do not matter.
 * @throws RangeError that says what is wrong, for what is not a share or has a typing error
 */
export function parseShare(typed: string): Share {
  const found = FORM.exec(typed.replaceAll(/\s/g, '').toLowerCase());
  if (!found) throw new RangeError('this is not a share: it must be cs1- and five more parts, joined by -');
  const [, text, setId, threshold, index, hex, given] = found as unknown as [string, ...string[]];
  if (checksum(text!) !== given) throw new RangeError('the share has a typing error: its checksum does not match');
  return {
    setId: setId!,
    threshold: Number(threshold),
    index: Number(index),
    bytes: new Uint8Array(Buffer.from(hex!, 'hex')),
  };
}

// Finds typing errors. Whether a share is genuine only its hash in the keyring says.
function checksum(text: string): string {
  return Buffer.from(sha256(text)).toString('hex').slice(0, CHECKSUM_CHARACTERS);
}

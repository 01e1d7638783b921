import { createHmac } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { constantTimeEqual } from '../ids.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { HmacAlgorithm } from './key-algorithms.ts';

/** A key for HMAC. */
export interface HmacKey {
  algorithm: HmacAlgorithm;
  key: KeyObject;
}

/** HMAC (RFC 2104), as long as its hash: 32, 48 or 64 bytes. */
export function macOf({ algorithm, key }: HmacKey, message: Uint8Array): Uint8Array {
  return createHmac(keyAlgorithms[algorithm].hash, key).update(message).digest();
}

/** Whether this is the MAC of the message, whole: a cut one is none. The time depends on the lengths only. */
export function isMacOf(key: HmacKey, message: Uint8Array, mac: Uint8Array): boolean {
  return constantTimeEqual(macOf(key, message), mac);
}

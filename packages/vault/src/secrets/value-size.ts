import { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from '../context.ts';
import type { SecretValue } from './secret.ts';

/** Why a value is too large for this system; undefined if it is not. */
export function tooLarge({ settings }: Pick<VaultContext, 'settings'>, { bytes }: SecretValue): string | undefined {
  return bytes.length > settings.secretBytesMax ? `is larger than ${settings.secretBytesMax} bytes` : undefined;
}

/** `path` is that of the value in the request. @throws AppError `too_large` */
export function refuseTooLarge(ctx: Pick<VaultContext, 'settings'>, value: SecretValue, path: string): void {
  const message = tooLarge(ctx, value);
  if (message !== undefined) throw new AppError('too_large', `${path}: ${message}`, { errors: [{ path, message }] });
}

import { secretVersions } from './secrets/reseal-versions.ts';
import { signingKeys } from './users/reseal-signing-keys.ts';
import { totpSecrets } from './users/reseal-totp.ts';
import type { Resealable } from './deks/resealable.ts';

/** Everything that is sealed under a DEK: a feature that seals something adds it here, or a rotation would lose it. */
export const allResealables: readonly Resealable[] = [secretVersions, totpSecrets, signingKeys];

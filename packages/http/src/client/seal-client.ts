import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';
import type { ErrorCode } from '@cardea/contracts/errors';
import type { KekSeals } from '@cardea/contracts/kek-seals';
import { addSeal, listSeals, removeSeal, unfreezeUnwraps } from '@cardea/contracts/seal-api';
import type { Client } from './peer-client.ts';

// A passphrase takes a second of work.
const ADD_TIMEOUT_MS = 20_000;

/** Manages the seals by calling kek-service. */
export function createSealClient(client: Client): KekSeals {
  return {
    async list() {
      return (await client.call(listSeals, {}).catch(refused({}))).items;
    },
    async add(id, seal) {
      return client
        .call(addSeal, { body: { id, seal }, timeoutMs: ADD_TIMEOUT_MS })
        .catch(refused({ conflict: 'seal-exists' }));
    },
    async remove(id) {
      const rules = { conflict: 'last-seal', not_found: 'no-such-seal' } as const;
      await client.call(removeSeal, { params: { id } }).catch(refused(rules));
    },
    async unfreeze(peer, reason) {
      const rules = { conflict: 'not-frozen', rate_limited: 'unfreeze-wait' } as const;
      await client.call(unfreezeUnwraps, { body: { peer, reason } }).catch(refused(rules));
    },
  };
}

// Which rule of kek-service refused, by the code of its answer. Any other refusal of a right request is our fault.
function refused(rules: Partial<Record<ErrorCode, AuditRule>>): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof AppError)) throw error;
    if (error.code === 'sealed' || error.code === 'unavailable') throw error;
    const rule = rules[error.code];
    if (!rule) throw new AppError('internal', 'kek-service refused what is right', { cause: error });
    throw new AppError(error.code, error.message, { cause: error, rule });
  };
}

import { NotModified } from '@cardea/contracts/audited';
import { probeHealth, readHealth, readOpenApi } from '@cardea/contracts/system';
import { sha256Hex } from '@cardea/crypto/ids';
import { JSON_TYPE, plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { version } from '@cardea/process/version';
import { isKnown, requireMatch } from '@cardea/vault/conditions';

/** A document that does not change while the process runs. */
interface Constant {
  text: string;
  tag: string;
}

const ALIVE = JSON.stringify({ status: 'ok', version });

/** Health and the OpenAPI document of all routes. They show nothing confidential, so they need no record. */
export function systemRoutes(openApi: () => { openapi: string }): Route[] {
  let document: Constant | undefined;
  return [
    plainRoute(readHealth, alive),
    plainRoute(probeHealth, alive),
    plainRoute(readOpenApi, async ({ conditions }) => {
      // Made once, at the first request for it, because it takes longer than the rest of a start.
      const { text, tag } = (document ??= constantOf(openApi()));
      requireMatch(conditions, tag);
      const headers = { ETag: `"${tag}"` };
      return isKnown(conditions, tag) ? new NotModified(headers) : { text, contentType: JSON_TYPE, headers };
    }),
  ];
}

async function alive() {
  return { text: ALIVE, contentType: JSON_TYPE };
}

function constantOf(body: object): Constant {
  const text = JSON.stringify(body);
  return { text, tag: sha256Hex(text) };
}

import type { WebhookEventKind } from './events.ts';

/** A receiver of webhooks, as the operator has configured it. */
export interface WebhookEndpoint {
  name: string;
  /** `https:`, or `http:` if the operator allows it. */
  url: string;
  events: ReadonlySet<WebhookEventKind>;
  /** Signs what is sent: 24 to 64 bytes. */
  key: Uint8Array;
  /** Networks that the receiver may be in although they are not public. */
  allowNetworks: readonly string[];
}

/** One request to a receiver. */
export interface WebhookRequest {
  headers: Record<string, string>;
  body: string;
}

/** Why a receiver has not taken a request. */
export type SendFailure =
  /** A status that is not 2xx. A redirect is one of these: it is not followed. */
  | `status-${number}`
  /** The name of the receiver has no address now. */
  | 'no-address'
  /** The receiver has an address that Cardea must not connect to. */
  | 'address-refused'
  /** No answer within 10 seconds. */
  | 'timeout'
  /** Any other failure of the connection, such as a wrong certificate. */
  | 'connection'
  /** `signal` was aborted. The request may have arrived. */
  | 'aborted';

/** Sends webhooks, as those who have something to send see it. */
export interface WebhookSender {
  /**
   * Sends a request to an endpoint. Resolves with undefined once it was answered with 2xx, else with the reason. Does
   * not throw for anything that the receiver or the network does.
   */
  post(
    endpoint: Pick<WebhookEndpoint, 'url' | 'allowNetworks'>,
    request: WebhookRequest,
    signal: AbortSignal,
  ): Promise<SendFailure | undefined>;
}

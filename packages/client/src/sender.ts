import type { Endpoint } from '@cardea/contracts/endpoint';
import type { AnswerOf, Call, RequestOf } from './call.ts';
import type { Answer, CallOptions, TokenSource, Transport } from './transport.ts';

/** Sends the calls of one signed-in client. */
export class Sender {
  readonly #transport: Transport;
  readonly #tokens: TokenSource;

  constructor(transport: Transport, tokens: TokenSource) {
    this.#transport = transport;
    this.#tokens = tokens;
  }

  /** The whole answer. */
  async answer<E extends Endpoint>(
    call: Call<E>,
    request?: RequestOf<E>,
    options?: CallOptions,
  ): Promise<Answer<AnswerOf<E>>> {
    return await this.#transport.send(call, request, { ...options, tokens: this.#tokens });
  }

  /** The body of the answer. */
  async body<E extends Endpoint>(call: Call<E>, request?: RequestOf<E>, options?: CallOptions): Promise<AnswerOf<E>> {
    const { body } = await this.answer(call, request, options);
    return body;
  }

  /** The answer as a stream of bytes. */
  async stream<E extends Endpoint>(
    call: Call<E>,
    request: RequestOf<E> = {},
    options?: CallOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    return await this.#transport.stream(call, request, { ...options, tokens: this.#tokens });
  }

  /** An answer that anybody may have. */
  async open<E extends Endpoint>(call: Call<E>, request?: RequestOf<E>, options?: CallOptions): Promise<AnswerOf<E>> {
    const { body } = await this.#transport.send(call, request, options);
    return body;
  }
}

import type { Endpoint } from '@cardea/contracts/endpoint';
import type { AnswerOf, Call, ItemOf, RequestOf } from './call.ts';
import type { CallOptions } from './transport.ts';
import type { Sender } from './sender.ts';

/** Options of a list. */
export interface ListOptions extends CallOptions {
  /** How many items one request asks for: 1 to 500. */
  limit?: number | undefined;
  /** Where to go on: the `nextCursor` of a page. */
  cursor?: string | undefined;
}

/** A page of a list. It has a `nextCursor` if there are more items. */
export interface PageOfItems<Item> {
  items: Item[];
  nextCursor?: string | undefined;
}

/**
 * A list that is read as far as it is asked for: `for await (const item of list)`. `pages()` gives the pages, each with the
 * cursor of the next one.
 */
export class List<Item> implements AsyncIterable<Item> {
  readonly #pageAfter: (cursor: string | undefined) => Promise<PageOfItems<Item>>;
  readonly #start: string | undefined;

  constructor(pageAfter: (cursor: string | undefined) => Promise<PageOfItems<Item>>, start?: string) {
    this.#pageAfter = pageAfter;
    this.#start = start;
  }

  async *pages(): AsyncGenerator<PageOfItems<Item>> {
    let cursor = this.#start;
    do {
      const page = await this.#pageAfter(cursor);
      yield page;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item> {
    for await (const { items } of this.pages()) yield* items;
  }

  /** All items. They must fit into memory. */
  async all(): Promise<Item[]> {
    const items: Item[] = [];
    for await (const item of this) items.push(item);
    return items;
  }
}

/** A list of an endpoint that answers pages. */
export function listOf<E extends Endpoint>(
  sender: Sender,
  call: Call<E>,
  request: RequestOf<E>,
  { limit, cursor: start, ...options }: ListOptions = {},
): List<ItemOf<E>> {
  return new List(async (cursor) => {
    const query: object = { limit, ...(request.query as object), cursor };
    const answer: AnswerOf<E> = await sender.body(call, { ...request, query }, options);
    return answer as PageOfItems<ItemOf<E>>;
  }, start);
}

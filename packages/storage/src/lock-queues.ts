import type { WantedLock } from './postgres-locks.ts';
import type { TurnLimits } from './turns.ts';

interface Waiting {
  isShared: boolean;
  by: string | undefined;
  enter(): void;
}

/** One lock: how many hold it, and who waits, in turn. */
interface Queue {
  holders: number;
  isShared: boolean;
  waiting: Waiting[];
}

/**
 * The locks of the transactions of this process. One that has to wait for a lock waits here, without a connection, so that a
 * long change of one vault takes no connection from the changes of others. The database has the same locks for the
 * transactions of other processes.
 */
export class LockQueues {
  readonly #limits: Omit<TurnLimits, 'atOnce' | 'ownAtOnce'>;
  readonly #queues = new Map<bigint, Queue>();
  readonly #waiting = new Set<Waiting>();

  constructor(limits: Omit<TurnLimits, 'atOnce' | 'ownAtOnce'>) {
    this.#limits = limits;
  }

  /**
   * Runs `work` while it holds the locks. They must be in the order of `inOrder`. `waitMs` is the time for all of them.
   * @throws what `refuse` gives, before `work` begins; whatever `work` throws
   */
  async hold<T>(locks: WantedLock[], work: () => Promise<T>, by?: string): Promise<T> {
    const until = performance.now() + this.#limits.waitMs;
    const held: WantedLock[] = [];
    try {
      for (const lock of locks) {
        if (!this.#mayEnter(lock)) await this.#wait(lock, { by, until });
        held.push(lock);
      }
      return await work();
    } finally {
      for (const lock of held) this.#leave(lock);
    }
  }

  #mayEnter({ key, isShared }: WantedLock): boolean {
    const queue = this.#queues.get(key);
    // Behind who waits, also if it could share: otherwise a stream of sharers would keep out who wants the lock alone.
    if (queue && (queue.waiting.length > 0 || !isShared || !queue.isShared)) return false;
    if (queue) queue.holders += 1;
    else this.#queues.set(key, { holders: 1, isShared, waiting: [] });
    return true;
  }

  #wait({ key, isShared }: WantedLock, { by, until }: { by: string | undefined; until: number }): Promise<void> {
    const { waitingMax, ownWaitingMax = waitingMax, refuse } = this.#limits;
    const isOwn = by !== undefined && [...this.#waiting].filter((one) => one.by === by).length >= ownWaitingMax;
    if (isOwn || this.#waiting.size >= waitingMax) return Promise.reject(refuse(isOwn));
    const queue = this.#queues.get(key)!;
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        queue.waiting.splice(queue.waiting.indexOf(own), 1);
        this.#waiting.delete(own);
        // It may have been what the others waited behind.
        letIn(queue);
        reject(refuse(false));
      };
      const timer = setTimeout(giveUp, until - performance.now());
      const own = {
        isShared,
        by,
        enter: () => {
          clearTimeout(timer);
          this.#waiting.delete(own);
          resolve();
        },
      };
      this.#waiting.add(own);
      queue.waiting.push(own);
    });
  }

  #leave({ key }: WantedLock): void {
    const queue = this.#queues.get(key)!;
    queue.holders -= 1;
    letIn(queue);
    if (queue.holders === 0) this.#queues.delete(key);
  }
}

function letIn(queue: Queue): void {
  for (;;) {
    const [next] = queue.waiting;
    if (!next || (queue.holders > 0 && !(queue.isShared && next.isShared))) return;
    queue.waiting.shift();
    queue.holders += 1;
    queue.isShared = next.isShared;
    next.enter();
  }
}

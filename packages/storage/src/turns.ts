const FORGET_AT_MIN = 64;

/** How many may work at once, and how many wait for how long. */
export interface TurnLimits {
  atOnce: number;
  waitingMax: number;
  waitMs: number;
  /** How many an owner may have at work. The default is 1. Work without an owner (`by`) has no such limit. */
  ownAtOnce?: number;
  /** Of those that wait, how many may belong to one owner. Without it, `by` has no meaning. */
  ownWaitingMax?: number;
  /** The error for work that gets no turn. `isOwn` if work of its own owner is before it. */
  refuse(isOwn: boolean): Error;
  /** A clock that nobody can set, in milliseconds. */
  steadyMs?: () => number;
}

interface Waiting {
  by: string | undefined;
  enter(): void;
}

/** What an owner has had of the turns. All work without an owner counts as that of one. */
interface Share {
  atWork: number;
  waiting: number;
  /** The time that the owner's turns have taken, or the fair time when the owner came, if that is more. */
  usedMs: number;
}

/**
 * Lets work in by turns: first that of the owner who has the least at work, then that of the owner whose turns have taken
 * the least time, then by age. So an owner with a hundred imports that wait keeps the small write of another waiting for
 * one of them. Work of one owner goes in the order in which it came.
 *
 * This is fair queueing: the fair time is what each owner would have had if all who are there had shared the turns equally
 * (Demers, Keshav, Shenker, 1989). An owner who comes begins with it, so nobody saves up time, and whoever has used more is
 * next again once the others have had as much, however many of them come.
 */
export class Turns {
  readonly #limits: TurnLimits;
  readonly #steadyMs: () => number;
  readonly #owners = new Map<string | undefined, Share>();
  #fairMs = 0;
  /** How many owners are at work or wait. */
  #present = 0;
  /** At how many owners those are forgotten who have used no more than the fair time. */
  #forgetAt = FORGET_AT_MIN;
  readonly #waiting: Waiting[] = [];
  /** What waits until nothing else does. */
  readonly #last: Waiting[] = [];
  #running = 0;

  constructor({ steadyMs = () => performance.now(), ...limits }: TurnLimits) {
    this.#limits = limits;
    this.#steadyMs = steadyMs;
  }

  /** How many wait now. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` when it is its turn. @throws what `refuse` gives, before `work` begins; whatever `work` throws */
  take<T>(work: () => Promise<T>, by?: string): Promise<T> {
    const { waitingMax, ownWaitingMax = waitingMax } = this.#limits;
    if (this.#mayEnter(by)) return this.#run(work, by);
    const ownWaiting = by === undefined ? 0 : (this.#owners.get(by)?.waiting ?? 0);
    const isOwn = by !== undefined && ownWaiting >= ownWaitingMax;
    if (isOwn || this.#waiting.length >= waitingMax) return Promise.reject(this.#limits.refuse(isOwn));
    const isBehindOwn = by !== undefined && ownWaiting + this.#atWork(by) > 0;
    return this.#wait(by, isBehindOwn).then(() => this.#run(work, by));
  }

  /** Runs `work` once nothing else waits, without a limit. */
  async takeLast<T>(work: () => Promise<T>): Promise<T> {
    const isNext = this.#waiting.length === 0 && this.#mayEnter(undefined);
    if (!isNext) await new Promise<void>((enter) => this.#last.push({ by: undefined, enter }));
    return await this.#run(work, undefined);
  }

  #mayEnter(by: string | undefined): boolean {
    if (this.#running >= this.#limits.atOnce || this.#hasShare(by)) return false;
    this.#enter(by);
    return true;
  }

  #hasShare(by: string | undefined): boolean {
    return by !== undefined && this.#atWork(by) >= (this.#limits.ownAtOnce ?? 1);
  }

  #atWork(by: string | undefined): number {
    return this.#owners.get(by)?.atWork ?? 0;
  }

  /** The share of an owner who comes. */
  #arrive(by: string | undefined): Share {
    const share = this.#owners.get(by) ?? { atWork: 0, waiting: 0, usedMs: 0 };
    this.#owners.set(by, share);
    if (share.atWork + share.waiting > 0) return share;
    this.#present += 1;
    share.usedMs = Math.max(share.usedMs, this.#fairMs);
    return share;
  }

  #depart({ atWork, waiting }: Share): void {
    if (atWork + waiting > 0) return;
    this.#present -= 1;
    if (this.#present === 0) this.#owners.clear();
    else if (this.#owners.size >= this.#forgetAt) this.#forget();
  }

  #forget(): void {
    for (const [owner, { atWork, waiting, usedMs }] of this.#owners) {
      if (atWork + waiting === 0 && usedMs <= this.#fairMs) this.#owners.delete(owner);
    }
    this.#forgetAt = Math.max(FORGET_AT_MIN, 2 * this.#owners.size);
  }

  #enter(by: string | undefined): void {
    this.#running += 1;
    this.#arrive(by).atWork += 1;
  }

  #leave(by: string | undefined, tookMs: number): void {
    this.#running -= 1;
    const share = this.#owners.get(by)!;
    share.usedMs += tookMs;
    this.#fairMs += tookMs / this.#present;
    share.atWork -= 1;
    this.#depart(share);
  }

  #wait(by: string | undefined, isBehindOwn: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const share = this.#arrive(by);
      share.waiting += 1;
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(own), 1);
        share.waiting -= 1;
        this.#depart(share);
        reject(this.#limits.refuse(isBehindOwn));
        this.#letIn();
      };
      const timer = setTimeout(giveUp, this.#limits.waitMs);
      const own = {
        by,
        enter() {
          clearTimeout(timer);
          share.waiting -= 1;
          resolve();
        },
      };
      this.#waiting.push(own);
    });
  }

  async #run<T>(work: () => Promise<T>, by: string | undefined): Promise<T> {
    const beganAt = this.#steadyMs();
    try {
      return await work();
    } finally {
      this.#leave(by, this.#steadyMs() - beganAt);
      this.#letIn();
    }
  }

  #letIn(): void {
    if (this.#running >= this.#limits.atOnce) return;
    const next = this.#next();
    if (!next) return;
    this.#enter(next.by);
    next.enter();
  }

  #next(): Waiting | undefined {
    if (this.#waiting.length === 0) return this.#last.shift();
    const [first, ...others] = this.#waiting.filter(({ by }) => !this.#hasShare(by));
    if (!first) return undefined;
    const next = others.reduce((best, one) => (this.#isBefore(one.by, best.by) ? one : best), first);
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    return next;
  }

  #isBefore(one: string | undefined, other: string | undefined): boolean {
    const atWork = this.#atWork(one) - this.#atWork(other);
    return atWork < 0 || (atWork === 0 && this.#owners.get(one)!.usedMs < this.#owners.get(other)!.usedMs);
  }
}

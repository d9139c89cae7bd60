/** The longest that a timer of Node's can be set to. */
const LONGEST = 2 ** 31 - 1;

/** Whose turn it is, in the order in which they asked. */
export class Turn {
  #taken = false;
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /**
   * Waits for the turn, `span` milliseconds at most, or without end where that is `Infinity`. Returns what ends it; `undefined` where it did not come.
   * @param {number} span
   * @returns {Promise<(() => void) | undefined>}
   */
  async take(span) {
    if (this.#taken && !(await this.#comes(span))) return undefined;
    this.#taken = true;
    let isOver = false;
    return () => {
      if (!isOver) this.#pass();
      isOver = true;
    };
  }

  #comes(span) {
    return new Promise((resolve) => {
      let timer;
      const called = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const gaveUp = () => {
        this.#waiting.delete(called);
        resolve(false);
      };
      if (span !== Infinity) timer = setTimeout(gaveUp, Math.min(span, LONGEST));
      this.#waiting.add(called);
    });
  }

  /** Handed on, not let go: nobody gets in between. */
  #pass() {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken = false;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

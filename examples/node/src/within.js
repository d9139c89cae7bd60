/** The longest that a timer of Node's can be set to. */
const LONGEST = 2 ** 31 - 1;

/**
 * Waits for `work`, `span` milliseconds at most; then fails with what `tooLate` makes. The work goes on.
 * @template T
 * @param {number} span
 * @param {Promise<T>} work
 * @param {() => Error} tooLate
 * @returns {Promise<T>}
 */
export async function within(span, work, tooLate) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(tooLate()), Math.min(span, LONGEST));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

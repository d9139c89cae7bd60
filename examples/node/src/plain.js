/**
 * Turns the contract's 64-bit integers into numbers, wherever they stand. All are moments, spans, sizes and ids: a number holds them.
 * @param {any} value
 * @returns {any}
 */
export function plain(value) {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

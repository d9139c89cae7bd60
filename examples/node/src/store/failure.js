/** Why the store could not do as asked; `code` is one that the contract lists at `store.failure`. */
export class StoreFailure extends Error {
  /**
   * @param {string} code
   * @param {string} message names the place, never its content
   */
  constructor(code, message) {
    super(message);
    this.name = 'StoreFailure';
    this.code = code;
  }
}

const CODES = new Map([
  ['ENOSPC', 'full'],
  ['EDQUOT', 'full'],
  ['EROFS', 'read-only'],
  ['EACCES', 'permission-denied'],
  ['EPERM', 'permission-denied'],
]);

/**
 * Names the code of a system error, and the place.
 * @param {NodeJS.ErrnoException} error
 * @param {string} path
 */
export function failure(error, path) {
  if (error instanceof StoreFailure) return error;
  return new StoreFailure(CODES.get(error.code) ?? 'io', `${path}: ${error.code ?? error.message}`);
}

/**
 * Runs `work`, and turns a system error into a failure at `path`.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 */
export async function at(path, work) {
  try {
    return await work();
  } catch (error) {
    throw failure(error, path);
  }
}

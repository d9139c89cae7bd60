/**
 * `flock(2)`: the kind of lock that the Rust host takes, through `std::fs::File::lock`, and Python through `fcntl.flock`.
 *
 * Node has none, and the other kind, `fcntl` locks, would exclude nobody who uses this one. So it is called in the C library, which
 * this process has loaded already.
 */
import koffi from 'koffi';

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

const { EWOULDBLOCK, EAGAIN, EINTR } = koffi.os.errno;

const flock = process.platform === 'win32' ? undefined : koffi.load(null).func('int flock(int fd, int operation)');

/** Whether this system has such locks. */
export const isSupported = flock !== undefined;

/** A lock was refused for a reason other than that somebody holds it. */
export class LockError extends Error {
  constructor(errno) {
    const names = Object.entries(koffi.os.errno).filter(([, value]) => value === errno);
    const code = names[0]?.[0] ?? `errno ${errno}`;
    super(code);
    this.code = code;
  }
}

/**
 * Takes the exclusive lock of an open file if it is free. Does not wait.
 * @param {number} fd
 * @returns {boolean} whether it is held now
 */
export function tryLock(fd) {
  for (;;) {
    if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const errno = koffi.errno();
    if (errno === EWOULDBLOCK || errno === EAGAIN) return false;
    if (errno !== EINTR) throw new LockError(errno);
  }
}

/**
 * Frees the lock. Closing would do as well, unless a child process shares the open file.
 * @param {number} fd
 */
export function unlock(fd) {
  flock(fd, LOCK_UN);
}

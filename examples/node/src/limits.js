/**
 * What one plugin call may take. Beyond it, the call ends with one error of kind `internal`.
 *
 * `compute` is what the plugin itself may compute, and cuts it off. `deadline` is the clock of the whole call, most of which is
 * waiting for servers: it cuts nothing off, since a refresh that was sent must still be saved. Every wait is shortened to what is left
 * of it, and storage goes on working. The most memory is fixed when the plugin is built (`scripts/build-plugin.js`).
 *
 * @typedef {object} Limits
 * @property {number} compute in milliseconds, waiting for the host not counted
 * @property {number} deadline in milliseconds; a call with a timeout of its own gets that on top
 * @property {number} replayDeadline in milliseconds, for calls that may replay many requests
 * @property {number} replySize the most bytes of one reply's body
 * @property {number} hostCalls how often one call may call the host
 * @property {number} concurrentCalls how many calls may run at once, each on a thread; further ones wait for their turn
 */

/** @type {Limits} */
export const DEFAULT_LIMITS = Object.freeze({
  compute: 10_000,
  deadline: 120_000,
  replayDeadline: 600_000,
  replySize: 8 * 2 ** 20,
  hostCalls: 10_000,
  concurrentCalls: 8,
});

/**
 * How many host calls a policy needs at least: replaying one request takes about 13.
 * @param {number} parkedCount
 */
export const leastHostCalls = (parkedCount) => parkedCount * 40 + 1000;

/**
 * Raises limits that leave no room for what the policy allows: the wait for the lock and two requests for a token within the deadlines,
 * a replay of all that may be parked within the host calls.
 * @param {any} policy
 * @param {Limits} limits
 * @returns {Limits}
 */
export function withRoomFor({ tokenTimeout, lockWait, parkedCount }, limits) {
  const least = 2 * tokenTimeout + lockWait;
  return {
    ...limits,
    deadline: Math.max(limits.deadline, least),
    replayDeadline: Math.max(limits.replayDeadline, least),
    hostCalls: Math.max(limits.hostCalls, leastHostCalls(parkedCount)),
  };
}

/**
 * How many host calls are kept for the time after the last request: to save what it brought.
 * @param {number} parkedCount
 */
export const hostCallsForSaving = (parkedCount) => parkedCount * 4 + 200;
